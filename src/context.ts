import { access } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { KeyRing } from './config/rules/encryption.ts'
import type { ConfigStore } from './config/store/store.ts'
import { StepError, toStepError } from './core/errors.ts'
import { isInCheckout } from './core/git/checkout.ts'
import { homeFolder, ownHome } from './core/home.ts'
import type { Log } from './core/log.ts'
import { ownSecret } from './core/own-files.ts'
import { run } from './core/process/process.ts'
import type { Secrets } from './core/secrets.ts'
import { readPemFile, readTlsFiles } from './core/tls-files.ts'
import { actorOf } from './delivery/actor.ts'
import type { Context } from './delivery/context.ts'
import type { Journal } from './ledger/journal.ts'
import type { Ledger } from './ledger/ledger.ts'
import type { CredentialSource } from './registry/credentials.ts'
import type { RegistryClient } from './registry/types.ts'
import {
  type EnvironmentSettings,
  type HostAddress,
  readSettings,
  resolveEnvironment,
  SETTINGS_FILE,
  type Settings,
} from './settings.ts'
import type { Host } from './targets/docker/host.ts'

export interface ContextOptions {
  cwd: string
  /** Path of crosscloud.yml; default: in `cwd`. */
  settingsFile?: string | undefined
  variables: Readonly<Record<string, string | undefined>>
  log: Log
  secrets: Secrets
  signal: AbortSignal
}

/** A context and the way to let go of everything it opened. */
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
    const opening = openLedgerOf(await settings(), options)
    const found = await keep(
      opening.catch((error) => Promise.reject(withEmpty(error, emptyForLedger))),
    )
    await deliverJournal(await openJournalOf(found, variables), found, log)
    return found
  })
  const issuerKeys = once(async () => fetchIssuerKeys(await settings(), signal))
  const stores = new Map<string, Promise<ConfigStore>>()
  const configStore = (environment: EnvironmentSettings) => {
    const open = async () => keep(openConfigStore(environment, await settings(), signal))
    const store = stores.get(environment.name) ?? open()
    stores.set(environment.name, store)
    return store
  }

  return {
    cwd,
    log,
    secrets,
    signal,
    settings,
    hasSettings,
    environment: async (name) => resolveEnvironment(await settings(), name),
    registry,
    ledger,
    async requireLedger() {
      const known = await settings()
      // Named is enough: this job may lack the variables that stand in it.
      if ('ledger' in known || Object.keys(known.environments).length === 0) return
      await findDefaultLedger(known.folder, variables)
    },
    journal: async () => openJournalOf(await ledger(), variables),
    configStore,
    configKeys: async (environment) => openConfigKeys(environment, await settings(), options),
    hosts: async ({ hosts }) => {
      const source = await credentials()
      const { folder } = await settings()
      return Promise.all(hosts.map((host) => keep(openHost(host, folder, source, signal))))
    },
    actor: actorOf(variables),
    identify: async (environment, how) => {
      const { identity } = await settings()
      const { identify } = await import('./identity/who.ts')
      const by = actorOf(variables).by
      const keys = issuerKeys
      return identify(identity, {
        variables,
        environment,
        signal,
        ...how,
        by,
        keys,
        hide: secrets.add,
      })
    },
    doubt: async (environment, { approval, proof }) => {
      const { identity } = await settings()
      if (identity === 'unverified') return undefined
      if (identity === undefined) return 'crosscloud.yml says of no issuer who could prove it'
      if (proof) secrets.add(proof.token)
      const { doubtKept } = await import('./identity/kept.ts')
      const { ca: _path, ...rules } = identity
      const apart = (await ledger()).approvalsApart
      return doubtKept({ ...approval, proof }, { ...rules, environment, keys: issuerKeys, apart })
    },
    platformApprovals: async (jobId, environment) => {
      const { gitlab } = await settings()
      const token = variables.GITLAB_TOKEN
      if (!gitlab || !token) return []
      secrets.add(token)
      const { readApprovals } = await import('./gitlab/approvals.ts')
      return readApprovals(
        { url: gitlab.url, token, signal },
        { project: gitlab.project, environment, jobId },
      )
    },
    stateFolder: stateFolder(variables),
    cacheFolder: cacheFolder(variables),
    sealKey: once(() => openSealKey(options, [cwd, dirname(settingsPath)])),
    // Most commands never ask, and need not look at the folders around.
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

/** A settings file that was named counts as there, so that its absence is said. */
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
    proxy: proxyOf(variables),
  })
}

async function readCertificates(files: Readonly<Record<string, string>>, folder: string) {
  const read = Object.entries(files).map(async ([host, path]) => [
    host,
    await readPemFile(path, { folder, owner: `registries.ca.${host}` }),
  ])
  return Object.fromEntries(await Promise.all(read)) as Record<string, string>
}

/** The usual variables, in either spelling. */
function proxyOf(variables: ContextOptions['variables']) {
  const find = (name: string) => variables[name] ?? variables[name.toLowerCase()]
  const [http, https, except] = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'].map(find)
  return { ...(http && { http }), ...(https && { https }), ...(except && { except }) }
}

async function openLedgerOf(
  { ledger, folder }: Settings,
  { variables, signal, log }: ContextOptions,
): Promise<Ledger> {
  const { openLedger } = await import('./ledger/open.ts')
  if (ledger !== undefined) return openLedger(ledger, { folder, signal })
  const path = await findDefaultLedger(folder, variables)
  if (await exists(path, false)) log.debug(`ledger: ${path}`)
  else log.info(`new ledger: ${path}; others see it once crosscloud.yml names a database`)
  return openLedger(`sqlite:${path}`, { signal })
}

/** A secret that a job does not get arrives as an empty variable. */
function withEmpty(error: unknown, variables: readonly string[]): unknown {
  const { code, message, summary, retryable } = toStepError(error)
  if (variables.length === 0 || retryable) return error
  const empty = variables.map((name) => `${name} is empty: is the secret set?`)
  return new StepError(code, [message, ...empty].join('\n'), {
    hint: 'Set it where this runs; in CI as a variable or secret that this job gets.',
    ...{ summary, retryable, cause: error },
  })
}

async function findDefaultLedger(folder: string, variables: ContextOptions['variables']) {
  const { assureDefaultLedger } = await import('./ledger/place.ts')
  const marks = ['/.dockerenv', '/run/.containerenv'].map((path) => exists(path, false))
  const container =
    Boolean(variables.KUBERNETES_SERVICE_HOST) || (await Promise.all(marks)).includes(true)
  const stateFolder = keptFolder(variables)
  return assureDefaultLedger({ variables, folder, stateFolder, container })
}

async function openJournalOf(
  ledger: Ledger,
  variables: ContextOptions['variables'],
): Promise<Journal> {
  const { openJournal } = await import('./ledger/journal.ts')
  return openJournal(join(stateFolder(variables), 'journal'), ledger.name)
}

/** What an earlier command could not tell the ledger; that fault is not this command's. */
async function deliverJournal(journal: Journal, ledger: Ledger, log: Log): Promise<void> {
  try {
    await journal.deliver(ledger, { delivered: log.info, refused: log.warn })
  } catch (error) {
    const { message, hint } = toStepError(error)
    log.warn(`${message}; what waits in ${journal.folder} is told later`)
    if (hint !== undefined) log.warn(`  ${hint}`)
  }
}

async function fetchIssuerKeys({ identity, folder }: Settings, signal: AbortSignal) {
  if (identity === undefined || identity === 'unverified') return { keys: [] }
  const { fetchKeys } = await import('./identity/issuer.ts')
  const { ca } = await readTlsFiles({ ca: identity.ca }, { folder, owner: 'identity' })
  return fetchKeys(identity, { signal, ca })
}

async function openConfigStore(
  { name, config }: EnvironmentSettings,
  { folder, file }: Settings,
  signal: AbortSignal,
): Promise<ConfigStore> {
  if (config === undefined) {
    throw new StepError('INPUT_INVALID', `environment ${name} has no config centre`, {
      hint: `Set environments.${name}.config in ${file}: file:config/${name}.yaml.`,
    })
  }
  const { openStore } = await import('./config/store/open.ts')
  return openStore(config, { folder, signal })
}

const CONFIG_KEY = 'CROSSCLOUD_CONFIG_KEY'

/** From crosscloud.yml, else from the variable; which one is never shown in full. */
async function openConfigKeys(
  { configKey }: EnvironmentSettings,
  { folder, file }: Settings,
  { variables, secrets }: ContextOptions,
): Promise<KeyRing | undefined> {
  const text = configKey ?? variables[CONFIG_KEY]
  if (!text) return undefined
  const { openKeyRing } = await import('./config/rules/key-ring.ts')
  if (!/^(?:file:|\/)/.test(text)) secrets.add(text)
  return openKeyRing(text, configKey === undefined ? CONFIG_KEY : `config-key in ${file}`, folder)
}

async function openHost(
  { name, address, certificates }: HostAddress,
  folder: string,
  source: CredentialSource,
  signal: AbortSignal,
): Promise<Host> {
  const { connectDocker } = await import('./targets/docker/driver.ts')
  return connectDocker({
    name,
    address,
    signal,
    ...(certificates !== undefined && { tls: certificateFiles(resolve(folder, certificates)) }),
    credentials: async (registry) => {
      const found = await source.find(registry)
      return found && 'password' in found ? found : undefined
    },
  })
}

function certificateFiles(folder: string) {
  return {
    ca: join(folder, 'ca.pem'),
    cert: join(folder, 'cert.pem'),
    key: join(folder, 'key.pem'),
  }
}

/** What must outlive a job; a runner's own folder, never the checkout, which CI cleans. */
function stateFolder(variables: ContextOptions['variables']): string {
  return keptFolder(variables) ?? join(homeFolder(variables), STATE)
}

function keptFolder(variables: ContextOptions['variables']): string | undefined {
  const { CROSSCLOUD_STATE, XDG_STATE_HOME } = variables
  if (CROSSCLOUD_STATE) return CROSSCLOUD_STATE
  if (XDG_STATE_HOME) return join(XDG_STATE_HOME, 'crosscloud')
  const home = ownHome(variables)
  return home && join(home, STATE)
}

const STATE = join('.local', 'state', 'crosscloud')

/** Kept where state is, not beside the cache: what CI restores there brings no key along. */
async function openSealKey(
  { cwd, variables, log }: ContextOptions,
  folders: readonly string[],
): Promise<Buffer | undefined> {
  const file = resolve(cwd, stateFolder(variables), 'cache.key')
  if (isInCheckout(file, folders, variables)) return undefined
  return ownSecret(file).catch((error: unknown) => {
    log.debug(`layers are not kept: ${toStepError(error).message}`)
    return undefined
  })
}

function cacheFolder(variables: ContextOptions['variables']): string {
  return variables.CROSSCLOUD_CACHE ?? ownCacheFolder(variables)
}

function ownCacheFolder(variables: ContextOptions['variables']): string {
  const { XDG_CACHE_HOME } = variables
  return join(XDG_CACHE_HOME ?? join(homeFolder(variables), '.cache'), 'crosscloud')
}

/** A checkout could bring code of its own there. */
function codeCacheFolder(
  variables: ContextOptions['variables'],
  folders: readonly string[],
): string | undefined {
  const folder = join(ownCacheFolder(variables), 'code')
  return isInCheckout(folder, folders, variables) ? undefined : folder
}
