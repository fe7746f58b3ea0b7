import { readFile } from 'node:fs/promises'
import { Command, CommanderError, Option } from 'commander'
import { type StepError, toStepError } from '../core/errors.ts'
import { type LogFormat, logFormats } from '../core/log.ts'
import { createSecrets } from '../core/secrets.ts'
import { loadStep, loadSteps } from '../steps/index.ts'
import { runStep } from '../steps/inputs.ts'
import type { Step } from '../steps/step.ts'
import { addExample, type Perform } from './command.ts'
import { addConfigCommands } from './config/commands.ts'
import { addEnvironments } from './environment/environments.ts'
import { addHostCommands } from './environment/hosts.ts'
import { addLockCommands } from './environment/lock.ts'
import { addRetention } from './environment/retention.ts'
import { addSignOff } from './environment/sign-off.ts'
import { addGitlabCommands } from './gitlab.ts'
import { addLedgerCommands } from './ledger/commands.ts'
import { addInputOptions, gatherInputs } from './options.ts'
import {
  errorJson,
  inSurfaceWords,
  jsonText,
  type Streams,
  tellBeside,
  tellFailure,
  wordFor,
} from './output.ts'
import { createPerform } from './perform.ts'
import { addServerCommands } from './server/commands.ts'
import type { Terminal } from './surface.ts'

/** The process as the program sees it; only main.ts knows the real one. */
export interface Surroundings {
  argv: readonly string[]
  cwd: string
  variables: Readonly<Record<string, string | undefined>>
  signal: AbortSignal
  /** Fires when the terminal is gone; a step goes on all the same. */
  hangUp?: AbortSignal | undefined
  terminal: boolean
  person: Terminal
  streams: Streams
}

/** Runs the command line and gives the exit code. */
export async function runProgram(surroundings: Surroundings): Promise<number> {
  const { streams, argv } = surroundings
  const secrets = createSecrets()
  const program = new Command('crosscloud')
  let exitCode = 0
  const beside: StepError[] = []
  const perform = createPerform(surroundings, secrets, {
    with: (code) => {
      exitCode = code
    },
    beside: (faults) => beside.push(...faults),
  })
  // Not commander's own option: `release --version 1.4.2` is the release's.
  if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-V')) {
    streams.stdout(`${await programVersion()}\n`)
    return 0
  }
  describeProgram(program, surroundings)
  // A command that is a step loads only itself; help needs them all.
  const asked = await loadStep(argv.find((word) => !word.startsWith('-')) ?? '')
  for (const step of asked ? [asked] : await loadSteps()) {
    addStep(program, step, perform, surroundings)
  }
  addEnvironments(program, perform)
  addLedgerCommands(program, perform)
  addLockCommands(program, perform)
  addSignOff(program, perform)
  addConfigCommands(program, perform, surroundings.person)
  addHostCommands(program, perform, surroundings.person)
  addGitlabCommands(program, perform, surroundings.person)
  addRetention(program, perform, surroundings.person)
  addServerCommands(program, perform, surroundings)
  addDemo(program, perform)
  try {
    await program.parseAsync([...argv], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    const known = inSurfaceWords(toStepError(error), wordFor(surroundings.variables))
    const { log } = program.opts<{ log?: LogFormat }>()
    tellFailure(known, log, { write: streams.stderr, mask: secrets.mask })
    if (known.code === 'INTERNAL' && argv.includes('--verbose') && known.cause instanceof Error) {
      streams.stderr(secrets.mask(`${known.cause.stack ?? ''}\n`))
    }
    if (argv.includes('--json')) {
      streams.stdout(`${jsonText(errorJson(known, secrets), secrets)}\n`)
    }
    exitCode = known.exitCode
  }
  const { log } = program.opts<{ log?: LogFormat }>()
  for (const { message } of beside) {
    tellBeside(message, log, { write: streams.stderr, mask: secrets.mask })
  }
  return exitCode
}

async function programVersion(): Promise<string> {
  const manifest = new URL('../../package.json', import.meta.url)
  return (JSON.parse(await readFile(manifest, 'utf8')) as { version: string }).version
}

function describeProgram(program: Command, { streams }: Surroundings): void {
  program
    .description('One WAR, built once, baked once, promoted unchanged from test to production.')
    .addOption(
      new Option(
        '--settings <file>',
        'crosscloud.yml to use, or CROSSCLOUD_SETTINGS; default: in this folder',
      ),
    )
    .addOption(new Option('--json', 'print one JSON document; logs go to stderr'))
    .addOption(
      new Option('--dotenv <file>', 'write the outputs to a new file, as CROSSCLOUD_… lines'),
    )
    .addOption(
      new Option('--junit <file>', 'write what was found to a new file, as a JUnit report'),
    )
    .addOption(new Option('--verbose', 'say more'))
    .addOption(new Option('--log <format>', 'how to log').choices([...logFormats]))
    .addHelpText(
      'after',
      '\n`crosscloud --version` prints the version of this program.' +
        '\nInputs come from flags, then CROSSCLOUD_INPUTS (a JSON object of them), then' +
        '\nCROSSCLOUD_<INPUT> variables, then crosscloud.yml.' +
        '\nExit codes: 0 done, 2 bad input, 75 something did not answer, worth trying again, 1 anything else.',
    )
    .showHelpAfterError('(--help explains the command)')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeOut: streams.stdout, writeErr: streams.stderr })
    .exitOverride()
}

function addStep(
  program: Command,
  step: Step,
  perform: Perform,
  { variables }: Surroundings,
): void {
  const command = program.command(step.name).description(step.summary)
  addInputOptions(command, step)
  addExample(command, step.example)
  command.action(async () => {
    const inputs = gatherInputs(step, command.opts(), command.args[0], variables)
    const { [step.environmentInput ?? 'env']: named } = inputs
    const environment = typeof named === 'string' ? named : undefined
    await perform(
      command,
      async (context) => {
        const outputs = await runStep(step, inputs, context)
        return { json: outputs, text: step.report(outputs).join('\n') }
      },
      { environment, outputs: step.outputs },
    )
  })
}

function addDemo(program: Command, perform: Perform): void {
  const command = program
    .command('demo')
    .description('Run the whole road on this machine, with a real application, and prove it.')
    .option('--folder <folder>', 'where to work; kept for the next run', '.crosscloud/demo')
  addExample(command, 'demo --json')
  command.action(async ({ folder }: { folder: string }) => {
    await perform(command, async (context) => {
      const { runDemo } = await import('../demo/demo.ts')
      return runDemo(folder, context)
    })
  })
}
