import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { serverSettings } from './api/settings.ts'
import type { StoreSettings } from './config/store/open.ts'
import { configKeySettings, storeSettings } from './config/store/settings.ts'
import { StepError } from './core/errors.ts'
import type { Secrets } from './core/secrets.ts'
import { acrossFields, objectName, parsed } from './core/settings/schema.ts'
import {
  type OpenedSettings,
  openYamlSettings,
  readSettingsText,
  type SettingsText,
} from './core/settings/settings-file.ts'
import { type GateSettings, gateSettings } from './gate/settings.ts'
import { gitlabSettings } from './gitlab/settings.ts'
import { identitySettings } from './identity/settings.ts'
import { checkBuilder, imageSettings, warSettings } from './image/settings.ts'
import { ledgerSettings } from './ledger/settings.ts'
import { type ProxySettings, proxySettings } from './proxies/settings.ts'

import { parseRepository, type Repository } from './registry/reference.ts'
import { parseAddress } from './targets/docker/address.ts'
import { conflictsOf } from './targets/docker/container/conflicts.ts'
import { mergeContainer, resolveContainer } from './targets/docker/container/resolve.ts'
import type { ContainerSettings, HostAddress } from './targets/docker/host.ts'
import { proxyServers } from './targets/docker/proxy-servers.ts'
import { containerSettings, hostSettings } from './targets/docker/settings.ts'
import type { ProxyServer } from './targets/proxy.ts'
import { pruneSettings } from './targets/prune-settings.ts'
import {
  type RolloutSettings,
  resolveRollout,
  rolloutSettings,
} from './targets/rollout-settings.ts'
import { type ContainerSecret, resolveSecrets, secretVariables } from './targets/secret-settings.ts'
import type { TargetKind } from './targets/target.ts'

/** One of `environments:` in crosscloud.yml. */
export const environmentSettings = z.strictObject({
  from: objectName.optional().describe('The environment a release must come from'),
  image: parsed(parseRepository).describe('Repository its images are kept in'),
  config: storeSettings
    .optional()
    .describe('Config centre: file:config/test.yaml, redis://…, etcd://…'),
  'config-key': configKeySettings.optional(),
  hosts: z.record(objectName, hostSettings).optional().describe('Docker hosts by name'),
  container: containerSettings.optional().describe('Overrides of container'),
  rollout: rolloutSettings.optional().describe('Overrides of rollout'),
  proxy: proxySettings
    .optional()
    .describe('The proxy in front of its hosts, where deployments work it: docs/proxies.md'),
  url: z
    .string()
    .optional()
    .describe('Where people reach the application; with slots no output can name it but by this'),
  gate: gateSettings.optional().describe('What must be true before a deployment may start'),
  prune: pruneSettings
    .optional()
    .describe('After a good deployment its hosts remove images that nobody needs any more'),
})

/** crosscloud.yml, whole. Its JSON schema is published from here. */
export const settingsSchema = z
  .strictObject({
    app: objectName.describe('Name of the application'),
    war: warSettings.optional(),
    image: imageSettings
      .extend({ engine: hostSettings.optional().describe('For docker: Docker Engine that builds') })
      .check(acrossFields(checkBuilder))
      .optional(),
    ledger: ledgerSettings
      .optional()
      .describe(
        'sqlite:FILE, mysql://… or mysqls://…; default: .crosscloud/ledger.db beside this file, in CI a file in the home of its user',
      ),
    registries: z
      .strictObject({
        insecure: z.array(z.string()).default([]).describe('Hosts that speak plain HTTP'),
        ca: z
          .record(z.string(), z.string())
          .optional()
          .describe('PEM files by registry host, trusted beside the usual authorities'),
      })
      .optional(),
    'config-key': configKeySettings.optional(),
    identity: identitySettings.optional(),
    gitlab: gitlabSettings.optional().describe('The project on GitLab'),
    server: serverSettings.optional(),
    container: containerSettings.optional(),
    rollout: rolloutSettings
      .optional()
      .describe('In which order hosts are changed, and commands that run once beside it'),
    environments: z.record(objectName, environmentSettings).default({}),
  })
  .check(({ value: { container, environments }, issues }) => {
    for (const [name, { container: own }] of Object.entries(environments)) {
      for (const { key, message } of conflictsOf(mergeContainer(container, own))) {
        const place = own?.[key] === undefined ? [] : ['environments', name]
        issues.push({ code: 'custom', input: own, path: [...place, 'container', key], message })
      }
    }
  })
  .check(({ value: { environments }, issues }) => {
    for (const [name, { from }] of Object.entries(environments)) {
      if (from === undefined) continue
      const known = from !== name && Object.hasOwn(environments, from)
      if (known && !isCircle(name, environments)) continue
      const message = known
        ? 'goes round in a circle; the first environment has no "from"'
        : `there is no other environment "${from}"`
      issues.push({ code: 'custom', input: from, path: ['environments', name, 'from'], message })
    }
  })

/** Whether the way back from an environment comes to it again. */
function isCircle(name: string, environments: Record<string, { from?: string | undefined }>) {
  const seen = new Set<string>()
  for (let at = environments[name]?.from; at !== undefined; at = environments[at]?.from) {
    if (at === name) return true
    if (seen.has(at)) return false
    seen.add(at)
  }
  return false
}

/** Every environment after the one its releases come from; else as they were written. */
export function environmentOrder(
  environments: Readonly<Record<string, { from?: string | undefined }>>,
): string[] {
  const names = Object.keys(environments)
  const after = (before: string | undefined): string[] =>
    names
      .filter((name) => environments[name]?.from === before)
      .flatMap((name) => [name, ...after(name)])
  return after(undefined)
}

export type Settings = z.output<typeof settingsSchema> & {
  /** Absolute path of the file, and the folder all its paths start from. */
  file: string
  folder: string
  variables: OpenedSettings<unknown>['variables']
}

export { wantedAccess } from './targets/docker/container/host-access.ts'
export type { HostAddress } from './targets/docker/host.ts'

/** An environment with everything settled: its own words over the common ones over the defaults. */
export interface EnvironmentSettings {
  name: string
  from: string | undefined
  image: Repository
  config: StoreSettings | undefined
  /** `file:PATH`, or the keys themselves; never print it. */
  configKey: string | undefined
  /** The kind of target that it runs on, and the hosts of that kind. */
  kind: TargetKind
  hosts: HostAddress[]
  containerName: string
  container: ContainerSettings
  /** What its containers read from files of their own. */
  secrets: readonly ContainerSecret[]
  rollout: RolloutSettings
  /** Where deployments take servers out of it, and put them in. */
  proxy: ProxySettings | undefined
  /** What a proxy in front of all its hosts sends requests to. */
  proxyServers: ProxyServer[]
  url: string | undefined
  gate: GateSettings | undefined
  /** Whether hosts remove images that nobody needs any more, and how many stay. */
  prune: { keep: number } | undefined
}

export const SETTINGS_FILE = 'crosscloud.yml'

export async function readSettings(
  path: string,
  variables: Readonly<Record<string, string | undefined>>,
  secrets: Secrets,
  onEmpty?: SettingsText['onEmpty'],
): Promise<Settings> {
  const file = resolve(path)
  const hint = `Run in the folder of ${SETTINGS_FILE}, or name it with \`--settings FILE\`.`
  const text = await readSettingsText(path, hint)
  const read = await openSettings(text, path, variables, secrets, onEmpty)
  return Object.assign(read.data, { file, folder: dirname(file), variables: read.variables })
}

/** The text of a crosscloud.yml; a variable is asked for when the setting it stands in is. */
export function openSettings(
  text: string,
  name: string,
  variables: Readonly<Record<string, string | undefined>>,
  secrets: Secrets,
  onEmpty?: SettingsText['onEmpty'],
) {
  const page = 'docs/settings.md'
  const file = { text, name, page, isShown, named: secretVariables, ...(onEmpty && { onEmpty }) }
  return openYamlSettings(settingsSchema, file, variables, secrets)
}

/** Names, references and addresses, which outputs and links are made of. */
const SHOWN =
  /^(?:app|war\/path|image\/(?:base|dockerfile|context|target|args\/[^/]+|engine(?:\/address)?)|gitlab\/(?:url|project)|server(?:\/url)?|identity\/issuer|environments\/[^/]+\/(?:image|url|hosts\/[^/]+(?:\/address)?))$/

const isShown = (path: readonly string[]) => SHOWN.test(path.join('/'))

/**
 * The named environment with all defaults settled; INPUT_INVALID lists the known ones. Each part is
 * looked up when it is used: verify-md5 needs no password of the config centre.
 */
export function resolveEnvironment(settings: Settings, name: string): EnvironmentSettings {
  const own = Object.hasOwn(settings.environments, name) ? settings.environments[name] : undefined
  if (!own) {
    const known = Object.keys(settings.environments).join(', ') || 'none'
    throw new StepError('INPUT_INVALID', `there is no environment "${name}" in ${settings.file}`, {
      hint: `Known environments: ${known}.`,
    })
  }
  const hosts = () =>
    Object.entries(own.hosts ?? {}).map(([host, address]) => ({ name: host, ...address }))
  const container = () => resolveContainer(settings.container, own.container)
  return {
    name,
    kind: 'docker',
    get from() {
      return own.from
    },
    get image() {
      return own.image
    },
    get config() {
      return own.config
    },
    get configKey() {
      return own['config-key'] ?? settings['config-key']
    },
    get proxy() {
      return own.proxy
    },
    get proxyServers() {
      return proxyServers(hosts(), container())
    },
    get url() {
      return own.url
    },
    get gate() {
      return own.gate
    },
    get prune() {
      return own.prune
    },
    get containerName() {
      return own.container?.name ?? settings.container?.name ?? `${settings.app}-${name}`
    },
    get hosts() {
      return hosts()
    },
    get secrets() {
      return resolveSecrets(mergeContainer(settings.container, own.container))
    },
    get container() {
      return container()
    },
    get rollout() {
      return resolveRollout({ ...settings.rollout, ...own.rollout })
    },
  }
}

/** A host that the settings named once, by the address that the ledger keeps. */
interface FormerHost {
  name: string
  address: string
}

/** For each kind of target, which addresses are of its hosts, and how they are reached. */
const FORMER: Record<TargetKind, { scheme: RegExp; read(host: FormerHost): HostAddress }> = {
  docker: {
    scheme: /^(?:unix|tcp|ssh):/,
    read: ({ name, address }) => ({
      name,
      address: parseAddress(address),
      certificates: undefined,
    }),
  },
}

/**
 * The environment as it was on these hosts, once for each kind of target that they are of: what it
 * runs on now may be of another kind.
 */
export function formerTargets(
  environment: EnvironmentSettings,
  hosts: readonly FormerHost[],
): EnvironmentSettings[] {
  const kinds = Object.keys(FORMER) as TargetKind[]
  return kinds.flatMap((kind) => {
    const { scheme, read } = FORMER[kind]
    const own = hosts.filter(({ address }) => scheme.test(address))
    return own.length === 0 ? [] : [withParts(environment, { kind, hosts: own.map(read) })]
  })
}

/** The same environment with only these hosts, of the kind that it has. */
export function withHosts(
  environment: EnvironmentSettings,
  hosts: EnvironmentSettings['hosts'],
): EnvironmentSettings {
  return withParts(environment, { hosts })
}

/** Its other parts are still looked up when they are used. */
function withParts(
  environment: EnvironmentSettings,
  parts: Partial<EnvironmentSettings>,
): EnvironmentSettings {
  return Object.defineProperties(
    {},
    {
      ...Object.getOwnPropertyDescriptors(environment),
      ...Object.getOwnPropertyDescriptors(parts),
    },
  ) as EnvironmentSettings
}
