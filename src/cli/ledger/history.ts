import type { Command } from 'commander'
import { StepError } from '../../core/errors.ts'
import { oneLine } from '../../gate/approvals.ts'
import { type Deployment, type DeploymentState, deploymentStates } from '../../ledger/ledger.ts'
import { unsignedLine } from '../../steps/break-glass.ts'
import { formatRelease, parseRelease } from '../../steps/inputs.ts'
import { addExample, type Perform } from '../command.ts'
import { table } from '../output.ts'
import { minute, readCount, readSince } from './text.ts'

interface HistoryOptions {
  app?: string
  env?: string
  state?: string
  by?: string
  release?: string
  since?: string
  before?: string
  limit: string
}

export function addHistory(program: Command, perform: Perform): void {
  const command = program
    .command('history')
    .description('What was deployed where, when and by whom; newest first.')
    .option('--app <name>', 'only this application')
    .option('--env <name>', 'only this environment')
    .option('--state <state>', `only this state: ${deploymentStates.join(', ')}`)
    .option('--by <login>', 'only what this person started')
    .option('--release <name>', 'only this release: webapi@1.4.2')
    .option('--since <time>', 'only what started since then: 7d, 24h, 2026-11-01')
    .option('--before <id>', 'only what came before this deployment: the next page')
    .option('--limit <number>', 'how many at the most', '20')
  addExample(command, 'history --env production --since 30d')
  command.action(async (options: HistoryOptions) => {
    const { env: environment, by, before } = options
    const release = options.release === undefined ? undefined : parseRelease(options.release)
    const query = {
      ...{ environment, by, before },
      app: release?.app ?? options.app,
      version: release?.version,
      state: readState(options.state),
      since: options.since === undefined ? undefined : readSince(options.since, new Date()),
      limit: readCount(options.limit, '--limit'),
    }
    if (release && options.app !== undefined && options.app !== release.app) {
      throw new StepError('INPUT_INVALID', `--release ${options.release} is none of ${options.app}`)
    }
    await perform(command, async (context) => {
      // One more than is shown tells whether there is another page.
      const found = await (await context.ledger()).deployments({ ...query, limit: query.limit + 1 })
      const deployments = found.slice(0, query.limit)
      const next = found.length > query.limit ? deployments.at(-1)?.id : undefined
      const text = historyText(deployments, next && nextPage(options, next))
      return { json: { deployments, next: next ?? null }, text }
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

function nextPage(options: HistoryOptions, before: string): string {
  const given = Object.entries({ ...options, before }).filter(([, value]) => value !== undefined)
  return `crosscloud history ${given.map(([name, value]) => `--${name} ${value}`).join(' ')}`
}

function historyText(deployments: readonly Deployment[], next: string | undefined): string {
  if (deployments.length === 0) return 'No such deployment is in the ledger.'
  const more = next === undefined ? [] : ['', `Older ones: ${next}`]
  return [deploymentTable(deployments), ...breakGlassNotes(deployments), ...more].join('\n')
}

function stateOf({ state, kind, breakGlass }: Deployment): string {
  const more = [...(kind === 'rollback' ? [kind] : []), ...(breakGlass ? ['break-glass'] : [])]
  return [state, ...more].join(', ')
}

/** What went past a gate, loud until a second person has signed it off. */
export function breakGlassNotes(deployments: readonly Deployment[]): string[] {
  const notes = deployments.flatMap(({ id, app, environment, breakGlass }) => {
    if (breakGlass === undefined) return []
    const { signedOff } = breakGlass
    if (!signedOff) return [unsignedLine({ app, environment, deployment: id, ...breakGlass })]
    const { by, at, reason } = signedOff
    return [
      `${id}: ${breakGlass.by} went past the gate of ${environment} (${oneLine(breakGlass.reason)}); ${by} signed it off at ${minute(at)} UTC (${oneLine(reason)})`,
    ]
  })
  return notes.length > 0 ? ['', ...notes] : []
}

export function deploymentTable(deployments: readonly Deployment[]): string {
  return table(
    ['id', 'when (UTC)', 'environment', 'release', 'state', 'verified', 'by', 'why'],
    deployments.map((one) => [
      one.id,
      minute(one.startedAt),
      one.environment,
      formatRelease(one),
      stateOf(one),
      one.verified ? 'yes' : 'no',
      one.identity === 'unverified' || one.identity === undefined ? one.by : `${one.by} (signed)`,
      one.error?.split('\n')[0] ?? one.reason ?? '',
    ]),
  )
}
