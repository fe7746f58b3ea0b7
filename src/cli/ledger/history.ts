import type { Command } from 'commander'
import { StepError } from '../../core/errors.ts'
import { unsignedLine } from '../../delivery/gate/break-glass.ts'
import { formatRelease, parseRelease } from '../../delivery/release-name.ts'
import { oneLine } from '../../gate/facts.ts'
import {
  type Deployment,
  type DeploymentState,
  deploymentStates,
  type HistoryQuery,
  type Ledger,
} from '../../ledger/ledger.ts'
import { addExample, type Perform } from '../command.ts'
import { table } from '../output.ts'
import { type HistoryEvent, readEvents } from './events.ts'
import { minute, readCount, readSince } from './text.ts'

interface Options {
  app?: string
  env?: string
  state?: string
  by?: string
  release?: string
  since?: string
  before?: string
  only?: string
  limit: string
}

const kinds = ['deployments', 'events'] as const
type Kind = (typeof kinds)[number]

export function addHistory(program: Command, perform: Perform): void {
  const command = program
    .command('history')
    .description(
      'What was deployed where, when and by whom, and what else was done there; newest first.',
    )
    .option('--app <name>', 'only this application')
    .option('--env <name>', 'only this environment')
    .option('--state <state>', `only this state: ${deploymentStates.join(', ')}`)
    .option('--by <login>', 'only what this person started')
    .option('--release <name>', 'only this release: webapi@1.4.2')
    .option('--since <time>', 'only what started since then: 7d, 24h, 2026-11-01')
    .option('--before <id>', 'only what came before this deployment: the next page')
    .option('--only <kind>', `only ${kinds.join(', or only ')}: locks, marks, hosts, config`)
    .option('--limit <number>', 'how many deployments at the most', '20')
  addExample(command, 'history --env production --since 30d')
  command.action(async (options: Options) => {
    const { env: environment, by, before } = options
    const release = options.release === undefined ? undefined : parseRelease(options.release)
    const query = {
      environment,
      by,
      before,
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
      const page = await readPage(query, readOnly(options.only), await context.ledger())
      const { deployments, events, next } = page
      const text = historyText(page, next && nextPage(options, next))
      return { json: { deployments, events, next: next ?? null }, text }
    })
  })
}

interface Page {
  deployments: Deployment[]
  events: HistoryEvent[]
  /** Whether there are no more events in the time of this page. */
  complete: boolean
  /** The deployment before which the next page starts. */
  next: string | undefined
}

/** Deployments are counted; what was done meanwhile comes with those that it was done between. */
async function readPage(
  query: HistoryQuery,
  only: Kind | undefined,
  ledger: Ledger,
): Promise<Page> {
  // Another record than is shown means that there is another page.
  const wanted = only === 'events' ? 0 : query.limit + 1
  const found = wanted === 0 ? [] : await ledger.deployments({ ...query, limit: wanted })
  const deployments = found.slice(0, query.limit)
  const next = found.length > query.limit ? deployments.at(-1)?.id : undefined
  if (only === 'deployments' || query.state !== undefined) {
    return { deployments, events: [], complete: true, next }
  }
  const oldest = next === undefined ? undefined : deployments.at(-1)?.startedAt
  const newer = query.before === undefined ? undefined : await ledger.findDeployment(query.before)
  const { app, environment, version, by, limit } = query
  const since = [query.since, oldest]
    .filter((time) => time !== undefined)
    .sort()
    .at(-1)
  const time = { since, until: newer?.startedAt }
  const read = await readEvents({ app, environment, version, by, ...time }, ledger)
  if (only === undefined) return { deployments, ...read, next }
  const events = read.events.slice(0, limit)
  const complete = read.complete && read.events.length <= limit
  return { deployments, events, complete, next }
}

function readOnly(text: string | undefined): Kind | undefined {
  const kind = kinds.find((known) => known === text)
  if (kind !== undefined || text === undefined) return kind
  throw new StepError('INPUT_INVALID', `--only "${text}" is not known`, {
    hint: `Known are ${kinds.join(' and ')}.`,
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

function nextPage(options: Options, before: string): string {
  const given = Object.entries({ ...options, before }).filter(([, value]) => value !== undefined)
  return `crosscloud history ${given.map(([name, value]) => `--${name} ${value}`).join(' ')}`
}

function historyText({ deployments, events, complete }: Page, next: string | undefined): string {
  if (deployments.length + events.length === 0) return 'No such deployment is in the ledger.'
  const more = [
    ...(complete ? [] : ['There are more events than are shown: --since and --env select them.']),
    ...(next === undefined ? [] : [`Older ones: ${next}`]),
  ]
  const rows = byTime(deployments, events).map((record) =>
    'action' in record ? eventRow(record) : deploymentRow(record),
  )
  const notes = breakGlassNotes(deployments)
  return [table(HEADERS, rows), ...notes, ...(more.length > 0 ? ['', ...more] : [])].join('\n')
}

/** Deployments keep their order, whatever the clocks of the machines that wrote them. */
function byTime(deployments: readonly Deployment[], events: readonly HistoryEvent[]) {
  const rest = [...events]
  const before = ({ startedAt }: Deployment) => {
    const older = rest.findIndex(({ at }) => at < startedAt)
    return rest.splice(0, older < 0 ? rest.length : older)
  }
  const upTo = deployments.flatMap((deployment) => [...before(deployment), deployment])
  return [...upTo, ...rest]
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

const HEADERS = ['id', 'when (UTC)', 'environment', 'release', 'state', 'verified', 'by', 'why']

export const deploymentTable = (deployments: readonly Deployment[]): string =>
  table(HEADERS, deployments.map(deploymentRow))

function deploymentRow(deployment: Deployment): string[] {
  return [
    deployment.id,
    minute(deployment.startedAt),
    deployment.environment,
    formatRelease(deployment),
    stateOf(deployment),
    deployment.verified ? 'yes' : 'no',
    signed(deployment.by, deployment.identity),
    deployment.error?.split('\n')[0] ?? deployment.reason ?? '',
  ]
}

function eventRow({ id, at, environment, app, action, by, identity, ...rest }: HistoryEvent) {
  const { reason, subject } = rest
  const what = action.startsWith('marked') ? (subject ?? app) : app
  const detail = what === subject || subject === null ? [] : [`(${shorten(subject)})`]
  const why = [...(reason === null ? [] : [firstLine(reason)]), ...detail].join(' ')
  return [id ?? '', minute(at), environment, what, action, '', signed(by, identity), why]
}

const signed = (by: string, identity: string | null | undefined) =>
  identity === 'unverified' || identity == null ? by : `${by} (signed)`

/** The output of a command has many: `--json` has them all. */
const firstLine = (text: string) => text.trim().replace(/\s*\n.*$/s, ' …')

/** Many keys or containers: `--json` has them all. */
const shorten = (text: string) => (text.length > 60 ? `${text.slice(0, 59)}…` : text)
