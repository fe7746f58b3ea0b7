import { compareBytes } from '../../config/store/keys.ts'
import { type Digest, sha256 } from '../../core/digest.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { PlanRequest } from './request.ts'
import type { Plan } from './schema.ts'

/**
 * Settings that decide when a deployment may start, or what people are shown; where the config comes
 * from, whose revision is over what came; and what is made of other settings. All others are in the
 * hash, also those that there will be.
 */
const BESIDE: readonly (keyof EnvironmentSettings)[] = [
  'from',
  'gate',
  'url',
  'config',
  'configKey',
  'proxyServers',
]

type Decided = Pick<
  Plan,
  'kind' | 'release' | 'digest' | 'from' | 'config' | 'hosts' | 'rollout' | 'proxy'
>

/**
 * What would be done to what. What only stands in the way is left out: an approval that is given
 * changes nothing of what was approved. Without a config key, no value of a secret from the config
 * centre is in it either.
 */
export function hashOf(
  { environment, adopt = false, bad }: PlanRequest,
  { kind, release, digest, from, config, hosts, rollout, proxy }: Decided,
): Digest {
  const names = Object.keys(environment) as (keyof EnvironmentSettings)[]
  // A setting beside it is not looked up: its variable need not be set here.
  const settings = names.filter((name) => !BESIDE.includes(name))
  return sha256(
    canonical([
      'crosscloud plan v2',
      { kind, release, digest, adopt, bad, from: from?.deployment, config: config.after, rollout },
      Object.fromEntries(settings.map((name) => [name, environment[name]])),
      // What it would fetch, why it is silent and what gives it power follows from the rest.
      hosts.map(({ lacks: _lacks, error: _error, access: _access, ...host }) => host),
      proxy && { ...proxy, servers: null },
    ]),
  )
}

/** JSON whose keys are in one order, however the settings were written. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (inner === null || typeof inner !== 'object' || Array.isArray(inner)) return inner
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => compareBytes(a, b)))
  })
}
