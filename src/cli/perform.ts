import type { Command } from 'commander'
import { StepError, toStepError } from '../core/errors.ts'
import { createLog, type Log, type LogFormat } from '../core/log.ts'
import type { Secrets } from '../core/secrets.ts'
import type { CommandResult, Perform, Reported } from './command.ts'
import { junitXml } from './junit.ts'
import { errorJson, inSurfaceWords, jsonText, resultText, tellFailure, wordFor } from './output.ts'
import type { ProcessEnvironment } from './process-environment.ts'
import { dotenvLines, freshReport } from './reports.ts'

interface GlobalOptions {
  settings?: string
  json?: boolean
  verbose?: boolean
  log?: LogFormat
  dotenv?: string
  junit?: string
  markdown?: string
}

/** What is left to do when a command has ended. */
export interface Ends {
  with(exitCode: number): void
  /** Errors that are printed after the failure itself. */
  beside(errors: readonly StepError[]): void
}

/** How every command runs: with a context of its own, its result printed and reported as its options ask. */
export function createPerform(
  processEnvironment: ProcessEnvironment,
  secrets: Secrets,
  ends: Ends,
): Perform {
  const { cwd, variables, signal, streams, who } = processEnvironment
  const word = wordFor(variables)
  return async (command, work, reported = {}) => {
    const options = command.optsWithGlobals<GlobalOptions>()
    const { dotenv, junit, markdown } = await openReports(command, options, reported, cwd)
    const log = makeLog(options, reported, processEnvironment, secrets.mask)
    const settingsFile = options.settings ?? (variables.CROSSCLOUD_SETTINGS || undefined)
    const { createContext } = await import('../context.ts')
    const { readOnly } = reported
    const context = createContext({
      cwd,
      settingsFile,
      variables,
      log,
      secrets,
      signal,
      readOnly,
      who,
    })
    const writeJunit = async (text: string, failure: StepError | undefined) => {
      const { environment = command.opts().env } = reported
      const title = [titleOf(command), environment].filter(Boolean).join(' ')
      const findings = { title, test: command.description(), text, failure }
      await junit?.write(junitXml(findings, secrets))
    }
    try {
      const result = await work(context).catch(async (error: unknown) => {
        const failure = inSurfaceWords(toStepError(error), word)
        ends.beside(await errorsOf([() => writeJunit('', failure)]))
        throw error
      })
      const text = word(result.text)
      const found = result.failure && inSurfaceWords(result.failure, word)
      const errors = await errorsOf([
        () => writeJunit(text, found),
        async () => dotenv?.write(dotenvLines(reported.outputs, result.json)),
        async () => markdown?.write(secrets.mask(word(result.markdown ?? ''))),
      ])
      if (found) ends.beside(errors)
      const failure = found ?? notHandedOn(titleOf(command), errors)
      if (options.json) streams.stdout(`${jsonOf(result, failure, secrets)}\n`)
      else if (options.log === 'json' && !result.printed) log.info(result.text)
      else if (!result.printed) {
        const mask = result.document ? secrets.maskValue : secrets.mask
        streams.stdout(`${resultText(text, variables, mask)}\n`)
      }
      if (!failure) return ends.with(result.exitCode ?? 0)
      tellFailure(failure, options.log, { write: streams.stderr, mask: secrets.mask, variables })
      ends.with(failure.exitCode)
    } finally {
      await context.close()
    }
  }
}

/** Each is tried, whatever becomes of the others. */
async function errorsOf(writes: readonly (() => Promise<unknown>)[]): Promise<StepError[]> {
  const errors: StepError[] = []
  for (const write of writes) {
    await write().catch((error: unknown) => errors.push(toStepError(error)))
  }
  return errors
}

/** What a command did stays done, whatever becomes of its reports. */
function notHandedOn(title: string, errors: readonly StepError[]): StepError | undefined {
  const [first] = errors
  if (!first) return undefined
  const why = errors.map(({ message }) => message).join('; ')
  const message = `${title} was done; its outputs could not be handed on: ${why}`
  return new StepError(first.code, message, { hint: first.hint, retryable: false, cause: first })
}

/** What was at their paths is gone from here on, whatever becomes of the command. */
async function openReports(
  command: Command,
  { dotenv, junit, markdown }: GlobalOptions,
  { outputs }: Reported,
  cwd: string,
) {
  if (dotenv !== undefined && !outputs) {
    throw new StepError('INPUT_INVALID', `${titleOf(command)} has no outputs for --dotenv`, {
      hint: 'Use --json, which prints what the command found.',
    })
  }
  const fresh = (flag: string, name: string | undefined) =>
    name === undefined ? undefined : freshReport(cwd, flag, name)
  return {
    dotenv: await fresh('--dotenv', dotenv),
    junit: await fresh('--junit', junit),
    markdown: await fresh('--markdown', markdown),
  }
}

/** `verify-md5`, `config lint` */
function titleOf(command: Command): string {
  const group = command.parent?.parent ? command.parent.name() : undefined
  return [group, command.name()].filter(Boolean).join(' ')
}

/** What was found, and why it counts as a failure. */
function jsonOf({ json }: CommandResult, failure: StepError | undefined, secrets: Secrets): string {
  const whole = failure && !Array.isArray(json) ? { ...json, ...errorJson(failure, secrets) } : json
  return jsonText(whole, secrets)
}

function makeLog(
  { json, verbose, log }: GlobalOptions,
  { aloneOnStdout }: Reported,
  { streams, variables, terminal }: ProcessEnvironment,
  mask: (text: string) => string,
): Log {
  return createLog({
    format: log ?? surfaceFormat(variables, terminal),
    write: json || aloneOnStdout ? streams.stderr : streams.stdout,
    mask,
    word: wordFor(variables),
    verbose: verbose ?? false,
  })
}

function surfaceFormat(variables: ProcessEnvironment['variables'], terminal: boolean): LogFormat {
  if (variables.GITLAB_CI === 'true') return 'gitlab'
  if (variables.GITHUB_ACTIONS === 'true') return 'github'
  return terminal ? 'terminal' : 'plain'
}
