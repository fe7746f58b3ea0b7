import { relative, resolve } from 'node:path'
import { isStepError, StepError } from '../../core/errors.ts'
import { isBelow, realPath } from '../../core/git/checkout.ts'
import {
  type EnvironmentSettings,
  resolveEnvironment,
  type Settings,
  wantedAccess,
} from '../../settings.ts'
import { OWN } from './merge.ts'
import { isSameEngine, isSameRepository, isSameStore } from './places.ts'
import type { ApplicationSettings } from './settings.ts'

type Environments = ApplicationSettings['environments']

/**
 * Refuses what a commit may not give itself: power of a container over its host, and the hosts, the
 * repository or the config centre of an environment that the server alone describes.
 */
export function refusePower(settings: Settings, application: ApplicationSettings): void {
  const { app, folder } = settings
  const { environments: own, allow, ledger } = application
  const mayName = application['hosts-from-repository']
  requireLedger(settings, ledger !== undefined)
  requireVariables(settings)
  const names = Object.keys(settings.environments)
  const all = names.map((name) => resolveEnvironment(settings, name))
  const problems = all.flatMap((environment) => [
    ...accessProblems(environment, allow),
    ...outsideFiles(environment, settings, application),
    ...ownSockets(environment, own),
    ...hostProblems(environment, own, mayName),
    ...sharedProblems(environment, all, own, folder),
  ])
  if (problems.length === 0) return
  throw new StepError('FORBIDDEN', problems.map((text) => `${app} ${text}`).join('\n'), {
    hint: `Whoever keeps the server may allow it, in applications.${app} of crosscloud.server.yml.`,
  })
}

/** What has no value here cannot be checked: it would be something else where it has one. */
function requireVariables({ app, container, environments }: Settings): void {
  const parts = [
    () => container,
    ...Object.keys(environments).flatMap((name) =>
      checkedKeys.map((key) => () => environments[name]?.[key] as unknown),
    ),
  ]
  const problems = new Set(parts.flatMap((part) => gapsOf(part)))
  if (problems.size === 0) return
  throw new StepError(
    'INPUT_INVALID',
    [...problems].map((text) => `crosscloud.yml of ${app}: ${text}`).join('\n'),
    { hint: `Set them under applications.${app}.variables in crosscloud.server.yml.` },
  )
}

const checkedKeys = ['image', 'hosts', 'config', 'container'] as const

/** Settings without a value throw when they are read. */
function gapsOf(read: () => unknown): string[] {
  try {
    const value = read()
    if (typeof value !== 'object' || value === null) return []
    return Object.keys(value).flatMap((key) =>
      gapsOf(() => (value as Record<string, unknown>)[key]),
    )
  } catch (error) {
    if (!isStepError(error, 'INPUT_INVALID')) throw error
    // Without the merged file, which nobody wrote.
    return error.message
      .split('\n')
      .map((line) => line.slice(Math.max(0, line.indexOf('variable '))).replace(OWN, ''))
  }
}

function accessProblems(
  { name, container }: EnvironmentSettings,
  allow: readonly string[],
): string[] {
  return wantedAccess(container)
    .filter((text) => !allow.includes(text))
    .map((text) => `in ${name}: its container ${text}; that is not under allow`)
}

function outsideFiles(
  { name, config }: EnvironmentSettings,
  settings: Settings,
  { environments: own, path, 'config-key': ownKey }: ApplicationSettings,
): string[] {
  const { folder } = settings
  const repository = realPath(resolve(folder, relative(path, '.')))
  const isOutside = (file: string | undefined) =>
    file !== undefined && !isBelow(realPath(resolve(folder, file)), repository)
  const store = config?.url.kind === 'file' ? config.url.path : undefined
  const key = keyFile(() => settings.environments[name]?.['config-key'])
  const common = ownKey === undefined ? keyFile(() => settings['config-key']) : undefined
  const isForeign = (what: string) => !hasOwn(own, name, what)
  return [
    ...(isOutside(store) && isForeign('config') ? ['config'] : []),
    ...((isOutside(key) || isOutside(common)) && isForeign('config-key') ? ['config-key'] : []),
  ].map((what) => `in ${name}: its ${what} is a file of the server`)
}

/** Undefined for keys that stand there themselves, and where a variable is not set. */
function keyFile(read: () => string | undefined): string | undefined {
  try {
    return /^file:(.*)$/s.exec(read() ?? '')?.[1]
  } catch (error) {
    if (isStepError(error, 'INPUT_INVALID')) return undefined
    throw error
  }
}

/** Variables may have put the text together: `${A:-unix}:///var/run/docker.sock`. */
function ownSockets({ name, hosts, config }: EnvironmentSettings, own: Environments): string[] {
  const isEngine = hosts.some(({ address }) => address.kind === 'unix')
  const isStore = config?.url.kind === 'redis' && config.url.redis.socket !== undefined
  return [
    ...(isEngine && !hasOwn(own, name, 'hosts') ? ['an engine'] : []),
    ...(isStore && !hasOwn(own, name, 'config') ? ['a config centre'] : []),
  ].map((what) => `in ${name}: it names ${what} on the server itself`)
}

/** Another environment with these must not be deployed by whoever may not deploy this one. */
function sharedProblems(
  environment: EnvironmentSettings,
  all: readonly EnvironmentSettings[],
  own: Environments,
  folder: string,
): string[] {
  const { name } = environment
  return placeKeys.flatMap((key) => {
    if (hasOwn(own, name, key)) return []
    const others = all.filter((other) => other.name !== name && hasOwn(own, other.name, key))
    const same = others.filter((other) => isShared[key](environment, other, folder))
    return same.map((other) => `in ${name}: it has the ${key} of ${other.name}`)
  })
}

/** Names in DNS, ports that lead elsewhere: which hosts are the same is not known for certain. */
function hostProblems(
  { name, hosts }: EnvironmentSettings,
  own: Environments,
  mayName: boolean,
): string[] {
  const isDescribed = Object.keys(own).some((each) => hasOwn(own, each, 'hosts'))
  if (!isDescribed || mayName || hosts.length === 0 || hasOwn(own, name, 'hosts')) return []
  return [`in ${name}: the repository names its hosts; hosts-from-repository is not true`]
}

const hasOwn = (own: Environments, name: string, key: string) =>
  Object.hasOwn(own, name) &&
  (own[name] as Record<string, unknown> | undefined)?.[key] !== undefined

const placeKeys = ['hosts', 'image', 'config'] as const

const isShared: Record<
  (typeof placeKeys)[number],
  (one: EnvironmentSettings, other: EnvironmentSettings, folder: string) => boolean
> = {
  hosts: (one, other) =>
    one.hosts.some(({ address }) =>
      other.hosts.some((kept) => isSameEngine(address, kept.address)),
    ),
  image: (one, other) => isSameRepository(one.image, other.image),
  config: (one, other, folder) =>
    one.config !== undefined &&
    other.config !== undefined &&
    isSameStore(one.config.url, other.config.url, folder),
}

/** A file in the checkout is lost with it. */
function requireLedger({ app, ledger, folder }: Settings, isOwn: boolean): void {
  const [, file] = /^sqlite:(.*)$/s.exec(ledger?.url ?? 'sqlite:') ?? []
  if (isOwn || file === undefined) return
  const what = file === '' ? 'names no ledger' : `has its ledger in ${folder}, which is replaced`
  throw new StepError('INPUT_INVALID', `crosscloud.yml of ${app} ${what}`, {
    hint: `Set applications.${app}.ledger in crosscloud.server.yml.`,
  })
}
