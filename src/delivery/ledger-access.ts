import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { StepError, toStepError } from '../core/errors.ts'
import { lastingFolder, stateFolder } from '../core/files/folders.ts'
import type { Log } from '../core/log.ts'
import type { Journal } from '../ledger/journal.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Settings } from '../settings.ts'

type Variables = Readonly<Record<string, string | undefined>>

interface LedgerOptions {
  variables: Variables
  signal: AbortSignal
  log: Log
  /** Variables in the ledger's settings that are empty. */
  empty: readonly string[]
  /** For a command that only reads. */
  readOnly?: boolean | undefined
}

/** The ledger of crosscloud.yml, else a file of this user's. */
export async function openLedger(
  { ledger, folder }: Settings,
  { variables, signal, log, empty, readOnly }: LedgerOptions,
): Promise<Ledger> {
  const [{ openLedger: open }, { plainTexts }] = await Promise.all([
    import('../ledger/open.ts'),
    import('../ledger/plain-texts.ts'),
  ])
  try {
    if (ledger !== undefined) return plainTexts(await open(ledger, { folder, signal, readOnly }))
    const path = await findDefaultLedger(folder, variables)
    if (readOnly || (await exists(path))) log.debug(`ledger: ${path}`)
    else log.info(`new ledger: ${path}; others see it once crosscloud.yml names a database`)
    return plainTexts(await open(`sqlite:${path}`, { signal, readOnly }))
  } catch (error) {
    throw withEmpty(error, empty)
  }
}

/** A secret that a job does not get arrives as an empty variable. */
function withEmpty(error: unknown, variables: readonly string[]): unknown {
  const { code, message, summary, retryable } = toStepError(error)
  if (variables.length === 0 || retryable) return error
  const empty = variables.map((name) => `${name} is empty: is the secret set?`)
  return new StepError(code, [message, ...empty].join('\n'), {
    hint: 'Set it where this runs; in CI as a variable or secret that this job gets.',
    summary,
    retryable,
    cause: error,
  })
}

/** INPUT_INVALID where the file would be lost with the job. */
export async function findDefaultLedger(folder: string, variables: Variables): Promise<string> {
  const { assureDefaultLedger } = await import('../ledger/place.ts')
  const marks = ['/.dockerenv', '/run/.containerenv'].map(exists)
  const container =
    Boolean(variables.KUBERNETES_SERVICE_HOST) || (await Promise.all(marks)).includes(true)
  return assureDefaultLedger({
    variables,
    folder,
    stateFolder: lastingFolder(variables),
    container,
  })
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

export async function openJournal(ledger: Ledger, variables: Variables): Promise<Journal> {
  const { openJournal: open } = await import('../ledger/journal.ts')
  return open(join(stateFolder(variables), 'journal'), ledger.name)
}

/** Delivers what earlier commands could not record; a failure is not an error of this command. */
export async function deliverJournal(journal: Journal, ledger: Ledger, log: Log): Promise<void> {
  try {
    await journal.deliver(ledger, { delivered: log.info, refused: log.warn })
  } catch (error) {
    const { message, hint } = toStepError(error)
    log.warn(`${message}; what waits in ${journal.folder} is recorded later`)
    if (hint !== undefined) log.warn(`  ${hint}`)
  }
}
