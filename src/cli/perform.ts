import { createContext } from '../context.ts'
import { type StepError, toStepError } from '../core/errors.ts'
import { createLog, type Log, type LogFormat } from '../core/log.ts'
import type { Secrets } from '../core/secrets.ts'
import type { Answer, Perform } from './command.ts'
import { writeJunit } from './junit.ts'
import { inSurfaceWords, tellFailure, wordFor, writeDotenv } from './output.ts'
import type { Surroundings } from './program.ts'

interface GlobalOptions {
  settings?: string
  json?: boolean
  verbose?: boolean
  log?: LogFormat
  dotenv?: string
  junit?: string
}

/** How every command runs: with a context of its own, its answer printed and reported as asked. */
export function createPerform(
  surroundings: Surroundings,
  secrets: Secrets,
  endWith: (exitCode: number) => void,
): Perform {
  const { cwd, variables, signal, streams } = surroundings
  const word = wordFor(variables)
  return async (command, work) => {
    const options = command.optsWithGlobals<GlobalOptions>()
    const log = makeLog(options, surroundings, secrets.mask)
    const settingsFile = options.settings
    const context = createContext({ cwd, settingsFile, variables, log, secrets, signal })
    const report = async (facts: readonly string[], failure: StepError | undefined) => {
      if (options.junit === undefined) return
      const title = [command.name(), command.opts().env].filter(Boolean).join(' ')
      await writeJunit(options.junit, { title, facts, failure }, secrets.mask)
    }
    try {
      const answer = await work(context).catch(async (error: unknown) => {
        await report([], inSurfaceWords(toStepError(error), word))
        throw error
      })
      const text = word(answer.text)
      const failure = answer.failure && inSurfaceWords(answer.failure, word)
      await report(text.split('\n'), failure)
      if (options.dotenv !== undefined) {
        await writeDotenv(options.dotenv, answer.json as Record<string, unknown>)
      }
      if (options.log === 'json' && !options.json) log.info(answer.text)
      else streams.stdout(secrets.mask(`${options.json ? jsonOf(answer) : text}\n`))
      if (!failure) return
      tellFailure(failure, options.log, { write: streams.stderr, mask: secrets.mask })
      endWith(failure.exitCode)
    } finally {
      await context.close()
    }
  }
}

function jsonOf({ json }: Answer): string {
  return JSON.stringify(json, null, 2)
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
