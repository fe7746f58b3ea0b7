import { access } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { ImageBuilder } from './builder/builder.ts'
import type { ConfigStore } from './config/store/store.ts'
import { StepError } from './core/errors.ts'
import { cacheFolder, codeCacheFolder, openSealKey, stateFolder } from './core/files/folders.ts'
import { homeFolder } from './core/files/home.ts'
import { readPemFile } from './core/files/tls-files.ts'
import type { HttpClient } from './core/http/client.ts'
import { proxiesOf } from './core/http/proxy.ts'
import type { Log } from './core/log.ts'
import { run } from './core/process/process.ts'
import { programEnvironment } from './core/process/worker.ts'
import type { Secrets } from './core/secrets.ts'
import { actorOf } from './delivery/actor.ts'
import { openConfigKeys } from './delivery/config/config-keys.ts'
import type { Context, TargetSettings } from './delivery/context.ts'
import {
  deliverJournal,
  findDefaultLedger,
  openJournal,
  openLedger,
} from './delivery/ledger-access.ts'
import type { IssuerAccess } from './identity/http.ts'
import type { PresentedWho } from './identity/presented.ts'
import type { CredentialSource } from './registry/credentials.ts'
import type { RegistryClient } from './registry/types.ts'
import {
  type EnvironmentSettings,
  readSettings,
  resolveEnvironment,
  SETTINGS_FILE,
  type Settings,
} from './settings.ts'
import type { DockerTargetOptions } from './targets/docker/target.ts'
import type { Target } from './targets/target.ts'

export interface ContextOptions {
  cwd: string
  /** Path of crosscloud.yml; default: in `cwd`. */
  settingsFile?: string | undefined
  variables: Readonly<Record<string, string | undefined>>
  log: Log
  secrets: Secrets
  signal: AbortSignal
  /** For work that only reads: the ledger refuses every change, and the journal waits on. */
  readOnly?: boolean | undefined
  /** Who acts, where a server has authenticated them and runs this for them. */
  who?: PresentedWho | undefined
}

/** A context that closes everything it opened. */
export interface OpenContext extends Context {
  close(): Promise<void>
}

/** The only place where drivers are chosen and built, each on first use, each once. */
export function createContext(options: ContextOptions): OpenContext {
  const { cwd, variables, log, secrets, signal } = options
  const settingsPath = resolve(cwd, options.settingsFile ?? SETTINGS_FILE)
  const opened: Closable[] = []
  const keep = async <T extends Closable>(opening: Promise<T>): Promise<T> => {
    const driver = await opening
    opened.push(driver)
    return driver
  }
  const emptyForLedger: string[] = []
  const settings = once(() =>
    readSettings(settingsPath, variables, secrets, (variable, places) => {
      log.warn(`variable ${variable} is empty, in ${places.join(', ')}: is it set?`)
      if (places.some((place) => /^ledger(?:\.|$)/.test(place))) emptyForLedger.push(variable)
    }),
  )
  const hasSettings = once(() => exists(settingsPath, options.settingsFile !== undefined))
  const credentials = once(() => openCredentials(options))
  const registry = once(async () =>
    keep(
      openRegistry(
        await credentials(),
        (await hasSettings()) ? await settings() : undefined,
        options,
      ),
    ),
  )
  const ledger = once(async () => {
    const found = await keep(openLedger(await settings(), { ...options, empty: emptyForLedger }))
    if (!options.readOnly) await deliverJournal(await openJournal(found, variables), found, log)
    return found
  })
  const clients = new Map<string, Promise<HttpClient>>()
  const http = async (owner: string, ca: string | undefined) => {
    const folder = async () => (ca === undefined ? '.' : (await settings()).folder)
    const open = async () => openHttp(owner, ca, await folder(), variables)
    const client = clients.get(`${ca}`) ?? keep(open())
    clients.set(`${ca}`, client)
    return client
  }
  const issuerHttp = async () => {
    const { identity } = await settings()
    return http('identity', identity === 'unverified' ? undefined : identity?.ca)
  }
  const issuerKeys = once(async () =>
    fetchIssuerKeys(await settings(), { http: await issuerHttp(), signal }),
  )
  const stores = new Map<string, Promise<ConfigStore>>()
  const configStore = (environment: EnvironmentSettings) => {
    const open = async () => keep(openConfigStore(environment, await settings(), { signal, log }))
    const store = stores.get(environment.name) ?? open()
    stores.set(environment.name, store)
    return store
  }

  const server = once(async () => {
    const { findStepServer } = await import('./client/find.ts')
    return findStepServer({
      ...{ variables, log, signal, hide: secrets.add, stateFolder: stateFolder(variables) },
      settings: (await hasSettings()) ? await settings() : undefined,
      http: (ca) => http('server', ca),
    })
  })

  return {
    cwd,
    log,
    secrets,
    signal,
    server,
    settings,
    hasSettings,
    environment: async (name) => resolveEnvironment(await settings(), name),
    registry,
    http,
    ledger,
    async requireLedger() {
      const known = await settings()
      // This job may lack the variables of its address: it need not be opened.
      if ('ledger' in known || Object.keys(known.environments).length === 0) return
      await findDefaultLedger(known.folder, variables)
    },
    journal: async () => openJournal(await ledger(), variables),
    configStore,
    configKeys: async (environment) => openConfigKeys(environment, await settings(), options),
    target: async (environment) => {
      const known = await settings()
      const proxy = async () => {
        const found = await openEnvironmentProxy(environment.name, known, options)
        return found && { ...found, proxy: await keep(found.proxy) }
      }
      return keep(
        openTarget(environment, known, await credentials(), { signal, proxy, mask: secrets.mask }),
      )
    },
    imageBuilder: async (engine) => keep(openBuilder(engine, await credentials(), options)),
    actor: { ...actorOf(variables), ...options.who?.from },
    identify: async (environment, how) => {
      const { identity } = await settings()
      const { who } = options
      const { acceptPresented, requireSamePerson } = await import('./identity/presented.ts')
      if (who && (who.token === undefined || typeof identity !== 'object')) {
        return acceptPresented(who, identity, { environment, ...how })
      }
      const { identify } = await import('./identity/who.ts')
      const by = actorOf(variables).by
      const keys = issuerKeys
      const found = await identify(identity, {
        variables: who ? { CROSSCLOUD_ID_TOKEN: who.token } : variables,
        environment,
        http: await issuerHttp(),
        signal,
        ...how,
        by,
        keys,
        hide: secrets.add,
      })
      if (who) requireSamePerson(who, found)
      return found
    },
    doubt: async (environment, { approval, proof }) => {
      const { identity } = await settings()
      if (identity === 'unverified') return undefined
      if (identity === undefined) return 'crosscloud.yml names no issuer that could prove it'
      if (proof) secrets.add(proof.token)
      const { doubtStoredApproval } = await import('./identity/stored-approval.ts')
      const { ca: _path, ...rules } = identity
      const apart = (await ledger()).approvalsApart
      return doubtStoredApproval(
        { ...approval, proof },
        { ...rules, environment, keys: issuerKeys, apart },
      )
    },
    platformApprovals: async (jobId, environment) => {
      const { gitlab } = await settings()
      const token = variables.GITLAB_TOKEN
      if (!gitlab || !token) return []
      secrets.add(token)
      const { readApprovals } = await import('./gitlab/approvals.ts')
      return readApprovals(
        { http: await http('gitlab', gitlab.ca), url: gitlab.url, token, signal },
        { project: gitlab.project, environment, jobId },
      )
    },
    stateFolder: stateFolder(variables),
    cacheFolder: cacheFolder(variables),
    sealKey: once(() => openSealKey(options, [cwd, dirname(settingsPath)])),
    // Most commands do not use it, and need not search the folders above for a checkout.
    get codeCacheFolder() {
      return codeCacheFolder(variables, [cwd, dirname(settingsPath)])
    },
    variable: (name) => variables[name],
    async close() {
      await Promise.allSettled(opened.splice(0).map(async (driver) => driver.close()))
    },
  }
}

interface Closable {
  close(): void | Promise<void>
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}

/** A settings file that was named counts as there, so that its absence is an error. */
async function exists(path: string, named: boolean): Promise<boolean> {
  return access(path).then(
    () => true,
    () => named,
  )
}

async function openCredentials({ variables, secrets }: ContextOptions): Promise<CredentialSource> {
  const { createCredentials } = await import('./registry/credentials.ts')
  return createCredentials({ env: variables, home: homeFolder(variables), run, secrets })
}

async function openRegistry(
  credentials: CredentialSource,
  settings: Settings | undefined,
  { variables, secrets, log, signal }: ContextOptions,
): Promise<RegistryClient> {
  const { createRegistryClient } = await import('./registry/client.ts')
  const { insecure = [], ca = {} } = settings?.registries ?? {}
  return createRegistryClient({
    credentials,
    secrets,
    log,
    signal,
    insecure,
    ca: await readCertificates(ca, settings?.folder ?? '.'),
    proxies: proxiesOf(variables),
  })
}

async function readCertificates(files: Readonly<Record<string, string>>, folder: string) {
  const read = Object.entries(files).map(async ([host, path]) => [
    host,
    await readPemFile(path, { folder, owner: `registries.ca.${host}` }),
  ])
  return Object.fromEntries(await Promise.all(read)) as Record<string, string>
}

async function openHttp(
  owner: string,
  ca: string | undefined,
  folder: string,
  variables: ContextOptions['variables'],
): Promise<HttpClient> {
  const { createHttpClient } = await import('./core/http/client.ts')
  const authority = ca === undefined ? undefined : await readPemFile(ca, { folder, owner })
  return createHttpClient({ proxies: proxiesOf(variables), ca: () => authority })
}

async function fetchIssuerKeys({ identity }: Settings, access: IssuerAccess) {
  if (identity === undefined || identity === 'unverified') return { keys: [] }
  const { fetchKeys } = await import('./identity/issuer.ts')
  return fetchKeys(identity, access)
}

async function openConfigStore(
  { name, config }: EnvironmentSettings,
  { folder, file }: Settings,
  { signal, log }: Pick<ContextOptions, 'signal' | 'log'>,
): Promise<ConfigStore> {
  if (config === undefined) {
    throw new StepError('INPUT_INVALID', `environment ${name} has no config centre`, {
      hint: `Set environments.${name}.config in ${file}: file:config/${name}.yaml.`,
    })
  }
  const { openStore } = await import('./config/store/open.ts')
  return openStore(config, { folder, signal, log })
}

/** By the kind of target that the settings name. */
async function openTarget(
  environment: TargetSettings,
  { folder }: Settings,
  source: CredentialSource,
  options: Pick<DockerTargetOptions, 'signal' | 'proxy' | 'mask'>,
): Promise<Target> {
  switch (environment.kind) {
    case 'docker': {
      const { openDockerTarget } = await import('./targets/docker/target.ts')
      return openDockerTarget(environment, { ...options, folder, credentials: passwordsOf(source) })
    }
  }
}

/** With the servers of all its hosts, also where a deployment is about some of them. */
async function openEnvironmentProxy(
  name: string | undefined,
  settings: Settings,
  { log, variables }: Pick<ContextOptions, 'log' | 'variables'>,
) {
  const environment = name === undefined ? undefined : resolveEnvironment(settings, name)
  if (environment?.proxy === undefined) return undefined
  const { openProxy } = await import('./proxies/open.ts')
  const servers = environment.proxyServers
  const { app, folder } = settings
  const owner = { application: app, environment: environment.name }
  const programs = programEnvironment(variables)
  const options = { name: `${app}-${name}`, owner, servers, folder, log, programs }
  return { servers, proxy: openProxy(environment.proxy, options) }
}

/** What engines take; they know no tokens. */
function passwordsOf(source: CredentialSource) {
  return async (registry: string) => {
    const found = await source.find(registry)
    return found && 'password' in found ? found : undefined
  }
}

/** Without an address, the engine that docker's own client would speak to. */
async function openBuilder(
  engine: Parameters<Context['imageBuilder']>[0],
  source: CredentialSource,
  { cwd, variables, signal }: ContextOptions,
): Promise<ImageBuilder> {
  const [{ openImageBuilder }, { findEngine }] = await Promise.all([
    import('./builder/engine.ts'),
    import('./builder/address.ts'),
  ])
  const { address, tls } = findEngine(engine, { cwd, variables, home: homeFolder(variables) })
  return openImageBuilder({ address, tls, signal, credentials: passwordsOf(source) })
}
