import { createContext, type OpenContext } from '../../context.ts'
import { isStepError, StepError } from '../../core/errors.ts'
import { silentLog } from '../../core/log.ts'
import type { Settings } from '../../settings.ts'
import { headOf } from '../effects/checkout.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import { type ApplicationCheckout, openCheckout } from './checkouts.ts'
import type { OwnVariable } from './merge.ts'
import { refusePower, requireVariables } from './power.ts'
import type { ApplicationSettings, WrittenApplications } from './settings.ts'

/** A registered application at a commit of its protected branch. */
export interface OpenedApplication extends ApplicationCheckout {
  app: string
  settings: Settings
  /** The server's variables that any of its settings need included: for reading, on the server. */
  environment: Readonly<Record<string, string>>
  /**
   * Those of a step in an environment: with what that one needs, and those its releases come from as
   * the server writes it. Throws where one of its own is not set.
   */
  variablesFor(environment: string): Readonly<Record<string, string>>
}

export interface Applications {
  names: readonly string[]
  /**
   * At the head of its protected branch, asked for at most so many milliseconds ago. Refuses what the
   * server does not allow, before anything runs.
   */
  open(app: string, signal: AbortSignal, maxAge?: number): Promise<OpenedApplication>
}

export interface ApplicationsOptions {
  settings: {
    applications: Readonly<Record<string, ApplicationSettings>>
    written: WrittenApplications
    folder: string
  }
  worker: WorkerEnvironment
  /** The server's own variables. */
  variables: Readonly<Record<string, string | undefined>>
}

export function openApplications(options: ApplicationsOptions): Applications {
  const { settings } = options
  const heads = new Map<string, { commit: string; at: number }>()
  const asking = new Map<string, Promise<string>>()
  const ask = async (app: string, known: ApplicationSettings, signal: AbortSignal) => {
    const at = Date.now()
    const { repository: url, branch } = known
    const commit = await headOf({ url, branch, project: app }, options.worker, signal)
    heads.set(app, { commit, at })
    return commit
  }
  /** Readers share one question: a server that does not answer gets no more of them. */
  const askOnce = (app: string, known: ApplicationSettings) => {
    const asked =
      asking.get(app) ??
      ask(app, known, AbortSignal.timeout(CHECKOUT_TIMEOUT)).finally(() => asking.delete(app))
    asking.set(app, asked)
    return asked
  }
  const kept = new Map<string, { commit: string; at: number; opened: Promise<OpenedApplication> }>()
  return {
    names: Object.keys(settings.applications),
    async open(app, signal, maxAge = 0) {
      const known = Object.hasOwn(settings.applications, app)
        ? settings.applications[app]
        : undefined
      if (known === undefined) throw unknownApplication(app)
      const head = heads.get(app)
      const isFresh = head !== undefined && Date.now() - head.at <= maxAge
      const now = () => (maxAge > 0 ? askOnce(app, known) : ask(app, known, signal))
      const commit = isFresh ? head.commit : await now()
      const last = kept.get(app)
      if (last?.commit === commit && Date.now() - last.at < KEPT) return last.opened
      // Requests at the same time share one checkout; it does not end with the first of them.
      const opened = openAt(app, known, commit, options)
      kept.set(app, { commit, at: Date.now(), opened })
      opened.catch((error) => {
        // What is wrong with a commit stays so: it is not fetched again for everybody who asks.
        const isOfCommit = isStepError(error, 'FORBIDDEN') || isStepError(error, 'INPUT_INVALID')
        if (!isOfCommit && kept.get(app)?.opened === opened) kept.delete(app)
      })
      return opened
    },
  }
}

async function openAt(
  app: string,
  known: ApplicationSettings,
  commit: string,
  { settings: { applications, written, folder }, worker, variables }: ApplicationsOptions,
): Promise<OpenedApplication> {
  const wanted = { app, commit, settings: known, own: written[app] ?? {}, serverFolder: folder }
  const checkout = await openCheckout(wanted, worker, AbortSignal.timeout(CHECKOUT_TIMEOUT))
  // Whom a step runs for comes over the channel of its process, see runs/child.ts.
  const mark = { CROSSCLOUD_RUN: 'true' }
  const variablesOf = (own: readonly OwnVariable[]): Record<string, string> => ({
    ...worker.variables,
    ...known.variables,
    ...valuesOf(own, { ...variables, ...known.variables }),
    ...mark,
  })
  const opened = { ...checkout, app, environment: variablesOf(checkout.variables) }
  const read = contextOf(opened, worker, AbortSignal.timeout(CHECKOUT_TIMEOUT))
  try {
    const settings = await read.settings()
    const { [app]: _own, ...others } = applications
    refusePower(settings, known, others)
    return {
      ...opened,
      settings,
      variablesFor(environment) {
        requireVariables(settings, environment)
        const names = withSources(environment, known.environments)
        requireSources(environment, names, { app, settings, variables: checkout.variables })
        return variablesOf(checkout.variables.filter((own) => isNeeded(own.environment, names)))
      },
    }
  } finally {
    await read.close()
  }
}

function valuesOf(
  own: readonly OwnVariable[],
  variables: ApplicationsOptions['variables'],
): Record<string, string> {
  const entries = own.flatMap(({ name, source }): [string, string][] => {
    const value = variables[source]
    return value === undefined ? [] : [[name, value]]
  })
  return Object.fromEntries(entries)
}

const isNeeded = (environment: string | undefined, names: readonly string[]) =>
  environment === undefined || names.includes(environment)

/** An environment, and all that its releases come through. */
function withSources(
  environment: string,
  environments: Readonly<Record<string, { from?: string | undefined } | undefined>>,
): string[] {
  const names: string[] = []
  let at: string | undefined = environment
  while (at !== undefined && !names.includes(at)) {
    names.push(at)
    at = Object.hasOwn(environments, at) ? environments[at]?.from : undefined
  }
  return names
}

/**
 * A chain that the repository writes gives no variable of the environments in it: any commit could
 * have the secrets of production by it. Only their images are read, which may need some.
 */
function requireSources(
  environment: string,
  given: readonly string[],
  {
    app,
    settings: { environments },
    variables,
  }: Pick<OpenedApplication, 'app' | 'settings' | 'variables'>,
): void {
  const chain = withSources(environment, environments)
  const lacking = variables.find(
    (own) =>
      own.setting === 'image' &&
      own.environment !== undefined &&
      chain.includes(own.environment) &&
      !given.includes(own.environment),
  )
  if (lacking?.environment === undefined) return
  const source = lacking.environment
  const next = chain[chain.indexOf(source) - 1]
  throw new StepError(
    'FORBIDDEN',
    `${app} in ${environment}: only its repository says that releases come from ${source}, whose image needs variables of the server`,
    {
      hint: `Write \`from: ${source}\` under applications.${app}.environments.${next} in crosscloud.server.yml.`,
    },
  )
}

/** How long the settings of a commit are not read anew, in milliseconds. */
const KEPT = 60_000

const CHECKOUT_TIMEOUT = 10 * 60_000

/** For what only reads: its ledger refuses every change. */
export function contextOf(
  { folder, file, environment }: Pick<OpenedApplication, 'folder' | 'file' | 'environment'>,
  { secrets }: WorkerEnvironment,
  signal: AbortSignal,
  { readOnly = true }: { readOnly?: boolean } = {},
): OpenContext {
  return createContext({
    cwd: folder,
    settingsFile: file,
    variables: environment,
    secrets,
    signal,
    log: silentLog,
    readOnly,
  })
}

function unknownApplication(app: string): StepError {
  return new StepError('NOT_FOUND', `there is no application ${JSON.stringify(app)} here`, {
    hint: 'Applications are registered under applications in crosscloud.server.yml.',
  })
}
