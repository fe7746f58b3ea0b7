import type { Command } from 'commander'
import { shortDigest } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import { type Deployment, type DeploymentState, deploymentStates } from '../ledger/ledger.ts'
import { formatRelease } from '../steps/inputs.ts'
import { addExample, type Perform } from './command.ts'
import { table } from './output.ts'

interface HistoryOptions {
  app?: string
  env?: string
  state?: string
  limit: string
}

/** Commands that read the ledger. */
export function addLedgerCommands(program: Command, perform: Perform): void {
  const history = program
    .command('history')
    .description('What was deployed where, when and by whom; newest first.')
    .option('--app <name>', 'only this application')
    .option('--env <name>', 'only this environment')
    .option('--state <state>', `only this state: ${deploymentStates.join(', ')}`)
    .option('--limit <number>', 'how many at the most', '20')
  addExample(history, 'history --env production')
  history.action(async (options: HistoryOptions) => {
    const { app, env: environment } = options
    const state = readState(options.state)
    const limit = readLimit(options.limit)
    await perform(history, async (context) => {
      const ledger = await context.ledger()
      const deployments = await ledger.deployments({ app, environment, state, limit })
      return { json: { deployments }, text: historyTable(deployments) }
    })
  })

  const status = program
    .command('status')
    .description('Which version runs in which environment, since when, by whose hand.')
    .option('--app <name>', 'only this application')
  addExample(status, 'status')
  status.action(async ({ app }: { app?: string }) => {
    await perform(status, async (context) => {
      const ledger = await context.ledger()
      const current = await ledger.current(app)
      return { json: { environments: current }, text: statusTable(current) }
    })
  })
}

function readState(text: string | undefined): DeploymentState | undefined {
  if (text === undefined) return undefined
  const state = deploymentStates.find((known) => known === text)
  if (state) return state
  throw new StepError('INPUT_INVALID', `--state "${text}" is not known`, {
    hint: `Known states: ${deploymentStates.join(', ')}.`,
  })
}

function readLimit(text: string): number {
  const limit = Number(text)
  if (Number.isInteger(limit) && limit > 0 && limit <= 10_000) return limit
  throw new StepError('INPUT_INVALID', `--limit "${text}" is not a number from 1 to 10000`)
}

function historyTable(deployments: readonly Deployment[]): string {
  if (deployments.length === 0) return 'Nothing was deployed yet.'
  return table(
    ['when', 'environment', 'release', 'state', 'verified', 'by', 'reason'],
    deployments.map((one) => [
      one.startedAt.replace('T', ' ').slice(0, 19),
      one.environment,
      formatRelease(one),
      one.state,
      one.verified ? 'yes' : 'no',
      one.by,
      one.error?.split('\n')[0] ?? one.reason ?? '',
    ]),
  )
}

function statusTable(current: readonly Deployment[]): string {
  if (current.length === 0) return 'Nothing was deployed yet.'
  return table(
    ['application', 'environment', 'version', 'image digest', 'config revision', 'since', 'by'],
    current.map((one) => [
      one.app,
      one.environment,
      one.version,
      shortDigest(one.digest),
      shortDigest(one.configRevision),
      one.startedAt.replace('T', ' ').slice(0, 19),
      one.by,
    ]),
  )
}
