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
 * repository or the config centre of an environment that the server describes, also one of another
 * application: the server has the keys of all. What lacks a
 * variable is left to `requireVariables`: it is looked at before anything of that environment runs.
 */
export function refusePower(
  settings: Settings,
  application: ApplicationSettings,
  others: Readonly<Record<string, ApplicationSettings>> = {},
): void {
  const { app, folder } = settings
  const { environments: own, allow } = application
  const mayName = application['hosts-from-repository']
  const names = Object.keys(settings.environments)
  const all = names.map((name) => resolveEnvironment(settings, name))
  const foreign = placesOf(others)
  const problems = all.flatMap((environment) =>
    [
      () => accessProblems(environment, allow),
      () => secretProblems(environment),
      () => outsideFiles(environment, settings, application),
      () => ownSockets(environment, own),
      () => hostProblems(environment, own, mayName),
      ...placeKeys.map((key) => () => sharedProblems(key, environment, all, own, folder)),
      ...placeKeys.map((key) => () => foreignProblems(key, environment, foreign, own)),
    ].flatMap((find) => unlessUnset(find) ?? []),
  )
  if (problems.length === 0) return
  throw new StepError('FORBIDDEN', problems.map((text) => `${app} ${text}`).join('\n'), {
    hint: `Whoever keeps the server may allow it, in applications.${app} of crosscloud.server.yml.`,
  })
}

/** Undefined where a variable is not set. */
function unlessUnset<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (isStepError(error, 'INPUT_INVALID')) return undefined
    throw error
  }
}

/**
 * What has no value here was not checked. Of other environments nothing is asked: they may be broken,
 * and whoever breaks one must not stop the others.
 */
export function requireVariables({ app, container, environments }: Settings, name: string): void {
  const own = Object.hasOwn(environments, name) ? environments[name] : undefined
  const parts = [() => container, ...checkedKeys.map((key) => () => own?.[key] as unknown)]
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

/** A secret names its variable without `${…}`, and variables may have put that name together. */
function secretProblems({ name, secrets }: EnvironmentSettings): string[] {
  return secrets
    .filter(({ source }) => 'environment' in source && source.environment.startsWith(OWN))
    .map((secret) => `in ${name}: its secret ${secret.name} is a variable of the server`)
}

function outsideFiles(
  { name, config }: EnvironmentSettings,
  { folder }: Settings,
  { environments: own, path }: ApplicationSettings,
): string[] {
  if (config?.url.kind !== 'file' || hasOwn(own, name, 'config')) return []
  const repository = realPath(resolve(folder, relative(path, '.')))
  if (isBelow(realPath(resolve(folder, config.url.path)), repository)) return []
  return [`in ${name}: its config is a file of the server`]
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
  key: PlaceKey,
  environment: EnvironmentSettings,
  all: readonly EnvironmentSettings[],
  own: Environments,
  folder: string,
): string[] {
  const { name, [key]: place } = environment
  if (place === undefined || hasOwn(own, name, key)) return []
  const others = all.filter((other) => other.name !== name && hasOwn(own, other.name, key))
  return others.flatMap((other) => {
    if (unlessUnset(() => other[key]) === undefined) {
      const what = `its ${key} cannot be told from that of ${other.name}, which lacks a variable`
      return [`in ${name}: ${what}`]
    }
    const same = isShared[key](environment, other, folder)
    return same ? [`in ${name}: it has the ${key} of ${other.name}`] : []
  })
}

/** Where an environment is, as far as it is known. */
type Places = {
  image?: EnvironmentSettings['image'] | undefined
  config?: EnvironmentSettings['config']
  hosts: readonly Pick<EnvironmentSettings['hosts'][number], 'address'>[]
}

/** Those that the server describes, with names for people. */
function placesOf(
  applications: Readonly<Record<string, ApplicationSettings>>,
): { name: string; places: Places }[] {
  return Object.entries(applications).flatMap(([app, { environments }]) =>
    Object.entries(environments).map(([environment, { image, config, hosts = {} }]) => ({
      name: `${environment} of ${app}`,
      // A file of the server is nobody's but by the server.
      places: {
        image,
        hosts: Object.values(hosts),
        ...(config?.url.kind !== 'file' && { config }),
      },
    })),
  )
}

function foreignProblems(
  key: PlaceKey,
  environment: EnvironmentSettings,
  foreign: ReturnType<typeof placesOf>,
  own: Environments,
): string[] {
  const { name } = environment
  if (hasOwn(own, name, key)) return []
  const same = foreign.filter(({ places }) => isShared[key](environment, places, ''))
  return same.map((other) => `in ${name}: it has the ${key} of ${other.name}`)
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
type PlaceKey = (typeof placeKeys)[number]

const isShared: Record<PlaceKey, (one: Places, other: Places, folder: string) => boolean> = {
  hosts: (one, other) =>
    one.hosts.some(({ address }) =>
      other.hosts.some((kept) => isSameEngine(address, kept.address)),
    ),
  image: (one, other) =>
    one.image !== undefined &&
    other.image !== undefined &&
    isSameRepository(one.image, other.image),
  config: (one, other, folder) =>
    one.config !== undefined &&
    other.config !== undefined &&
    isSameStore(one.config.url, other.config.url, folder),
}
