import { CommanderError } from 'commander'
import { type StepError, toStepError } from '../core/errors.ts'
import type { LogFormat } from '../core/log.ts'
import { createSecrets } from '../core/secrets.ts'
import { addCommands } from './commands.ts'
import { asksForVersion, defineProgram, programVersion } from './definition.ts'
import {
  errorJson,
  inSurfaceWords,
  jsonText,
  resultText,
  tellBeside,
  tellFailure,
  wordFor,
} from './output.ts'
import { createPerform } from './perform.ts'
import type { ProcessEnvironment } from './process-environment.ts'

/** Runs the command line and gives the exit code. */
export async function runProgram(processEnvironment: ProcessEnvironment): Promise<number> {
  const { streams, argv } = processEnvironment
  const secrets = createSecrets()
  const told = {
    write: streams.stderr,
    mask: secrets.mask,
    variables: processEnvironment.variables,
  }
  const program = defineProgram(streams)
  let exitCode = 0
  const beside: StepError[] = []
  const perform = createPerform(processEnvironment, secrets, {
    with: (code) => {
      exitCode = code
    },
    beside: (errors) => beside.push(...errors),
  })
  if (asksForVersion(argv)) {
    streams.stdout(`${await programVersion()}\n`)
    return 0
  }
  await addCommands(firstWord(argv), program, perform, processEnvironment)
  try {
    await program.parseAsync([...argv], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    const known = inSurfaceWords(toStepError(error), wordFor(processEnvironment.variables))
    const { log } = program.opts<{ log?: LogFormat }>()
    tellFailure(known, log, told)
    if (known.code === 'INTERNAL' && argv.includes('--verbose') && known.cause instanceof Error) {
      streams.stderr(resultText(`${known.cause.stack ?? ''}\n`, told.variables, told.mask))
    }
    if (argv.includes('--json')) {
      streams.stdout(`${jsonText(errorJson(known, secrets), secrets)}\n`)
    }
    exitCode = known.exitCode
  }
  const { log } = program.opts<{ log?: LogFormat }>()
  for (const { message } of beside) {
    tellBeside(message, log, told)
  }
  return exitCode
}

/** The command of a command line, after the options that may stand before it. */
function firstWord(argv: readonly string[]): string | undefined {
  const silent = { stdout() {}, stderr() {} }
  try {
    return defineProgram(silent).parseOptions([...argv]).operands[0]
  } catch {
    // The program itself reports what is wrong.
    return undefined
  }
}
