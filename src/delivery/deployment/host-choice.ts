import { StepError } from '../../core/errors.ts'
import type { Deployment, InstanceOutcome } from '../../ledger/ledger.ts'
import type { EnvironmentSettings, HostAddress } from '../../settings.ts'

/** What a deployment does with each host of its environment. */
export interface HostChoice {
  change: HostAddress[]
  /** They run the same already, and are not touched. */
  kept: InstanceOutcome[]
  /** Left out, whatever they run: they are behind from then on. */
  without: string[]
}

/** All hosts but those that are left out by name, with a reason. */
export function chooseHosts(
  { name, hosts }: EnvironmentSettings,
  without: readonly string[],
  reason: string,
): HostChoice {
  const bad = (message: string, hint: string) => new StepError('INPUT_INVALID', message, { hint })
  if (hosts.length === 0) {
    const key = `environments.${name}.hosts`
    throw bad(
      `environment ${name} has no hosts`,
      `Name at least one under ${key} in crosscloud.yml.`,
    )
  }
  const twice = hosts.find(
    ({ address }, at) => hosts.findIndex((other) => other.address.text === address.text) < at,
  )
  if (twice !== undefined) {
    const same = hosts
      .filter(({ address }) => address.text === twice.address.text)
      .map(({ name }) => name)
    throw bad(
      `hosts ${same.join(' and ')} of ${name} have one address: ${twice.address.text}`,
      'Each host is one Docker engine: write the address of each, or one host.',
    )
  }
  const known = hosts.map((host) => host.name)
  const unknown = without.find((host) => !known.includes(host))
  if (unknown !== undefined) {
    throw bad(`environment ${name} has no host "${unknown}"`, `Known hosts: ${known.join(', ')}.`)
  }
  if (without.length > 0 && reason === '') {
    throw bad('`--without` needs a reason', 'Say why with `--reason`; the ledger keeps it.')
  }
  const change = hosts.filter((host) => !without.includes(host.name))
  if (change.length > 0) return { change, kept: [], without: [...new Set(without)] }
  throw bad(`every host of ${name} is left out`, 'Name only those that do not answer.')
}

/** Only the hosts without the current deployment: left out of it, or new since. */
export function chooseMissing(
  environment: EnvironmentSettings,
  { id, app, hosts }: Deployment,
  without: readonly string[],
  reason: string,
): HostChoice {
  const chosen = chooseHosts(environment, without, reason)
  const known = environment.hosts.map(({ name }) => name)
  const kept = hosts.filter(({ host, ok }) => ok && known.includes(host))
  const isKept = (name: string) => kept.some(({ host }) => host === name)
  const change = chosen.change.filter(({ name }) => !isKept(name))
  if (change.length > 0) {
    return { change, kept, without: chosen.without.filter((name) => !isKept(name)) }
  }
  throw new StepError(
    'NOT_FOUND',
    `no host of ${app} in ${environment.name} is behind: ${id} is on all of them`,
    { hint: `\`crosscloud status --env ${environment.name} --live\` shows what runs.` },
  )
}
