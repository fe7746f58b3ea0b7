import type { Command } from 'commander'
import { createContext } from '../context.ts'
import { StepError, toStepError } from '../core/errors.ts'
import { createLog, type Log, type LogFormat } from '../core/log.ts'
import type { Secrets } from '../core/secrets.ts'
import type { Answer, Perform, Reported } from './command.ts'
import { junitXml } from './junit.ts'
import { answerText, errorJson, inSurfaceWords, jsonText, tellFailure, wordFor } from './output.ts'
import type { Surroundings } from './program.ts'
import { dotenvLines, freshReport } from './reports.ts'

interface GlobalOptions {
  settings?: string
  json?: boolean
  verbose?: boolean
  log?: LogFormat
  dotenv?: string
  junit?: string
}

/** What is left to do when a command has ended. */
export interface Ends {
  with(exitCode: number): void
  /** Told after the failure itself. */
  beside(faults: readonly StepError[]): void
}

/** How every command runs: with a context of its own, its answer printed and reported as asked. */
export function createPerform(surroundings: Surroundings, secrets: Secrets, ends: Ends): Perform {
  const { cwd, variables, signal, streams } = surroundings
  const word = wordFor(variables)
  return async (command, work, reported = {}) => {
    const options = command.optsWithGlobals<GlobalOptions>()
    const { dotenv, junit } = await openReports(command, options, reported, cwd)
    const log = makeLog(options, surroundings, secrets.mask)
    const settingsFile = options.settings ?? (variables.CROSSCLOUD_SETTINGS || undefined)
    const context = createContext({ cwd, settingsFile, variables, log, secrets, signal })
    const writeJunit = async (text: string, failure: StepError | undefined) => {
      const { environment = command.opts().env } = reported
      const title = [titleOf(command), environment].filter(Boolean).join(' ')
      const findings = { title, test: command.description(), text, failure }
      await junit?.write(junitXml(findings, secrets))
    }
    try {
      const answer = await work(context).catch(async (error: unknown) => {
        const failure = inSurfaceWords(toStepError(error), word)
        ends.beside(await faultsOf([() => writeJunit('', failure)]))
        throw error
      })
      const text = word(answer.text)
      const found = answer.failure && inSurfaceWords(answer.failure, word)
      const faults = await faultsOf([
        () => writeJunit(text, found),
        async () => dotenv?.write(dotenvLines(reported.outputs, answer.json)),
      ])
      if (found) ends.beside(faults)
      const failure = found ?? notHandedOn(titleOf(command), faults)
      if (options.log === 'json' && !options.json) log.info(answer.text)
      else {
        const told = answer.document ? secrets.maskValue(text) : secrets.mask(text)
        const json = options.json && jsonOf(answer, failure, secrets)
        streams.stdout(`${json || answerText(told, variables)}\n`)
      }
      if (!failure) return
      tellFailure(failure, options.log, { write: streams.stderr, mask: secrets.mask })
      ends.with(failure.exitCode)
    } finally {
      await context.close()
    }
  }
}

/** Each is tried, whatever becomes of the others. */
async function faultsOf(writes: readonly (() => Promise<unknown>)[]): Promise<StepError[]> {
  const faults: StepError[] = []
  for (const write of writes) {
    await write().catch((error: unknown) => faults.push(toStepError(error)))
  }
  return faults
}

/** A deed that was done stays done, whatever becomes of its reports. */
function notHandedOn(title: string, faults: readonly StepError[]): StepError | undefined {
  const [first] = faults
  if (!first) return undefined
  const why = faults.map(({ message }) => message).join('; ')
  const message = `${title} was done; its outputs could not be handed on: ${why}`
  return new StepError(first.code, message, { hint: first.hint, retryable: false, cause: first })
}

/** What was at their paths is gone from here on, whatever becomes of the command. */
async function openReports(
  command: Command,
  { dotenv, junit }: GlobalOptions,
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
  return { dotenv: await fresh('--dotenv', dotenv), junit: await fresh('--junit', junit) }
}

/** `verify-md5`, `config lint` */
function titleOf(command: Command): string {
  const group = command.parent?.parent ? command.parent.name() : undefined
  return [group, command.name()].filter(Boolean).join(' ')
}

/** What was found, and why it counts as a failure. */
function jsonOf({ json }: Answer, failure: StepError | undefined, secrets: Secrets): string {
  const whole = failure && !Array.isArray(json) ? { ...json, ...errorJson(failure, secrets) } : json
  return jsonText(whole, secrets)
}

function makeLog(
  { json, verbose, log }: GlobalOptions,
  { streams, variables, terminal }: Surroundings,
  mask: (text: string) => string,
): Log {
  return createLog({
    format: log ?? surfaceFormat(variables, terminal),
    write: json ? streams.stderr : streams.stdout,
    mask,
    word: wordFor(variables),
    verbose: verbose ?? false,
  })
}

function surfaceFormat(variables: Surroundings['variables'], terminal: boolean): LogFormat {
  if (variables.GITLAB_CI === 'true') return 'gitlab'
  if (variables.GITHUB_ACTIONS === 'true') return 'github'
  return terminal ? 'terminal' : 'plain'
}
