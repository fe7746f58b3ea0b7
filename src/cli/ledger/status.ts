import type { Command } from 'commander'
import { shortDigest } from '../../core/digest.ts'
import { StepError } from '../../core/errors.ts'
import { joinErrors } from '../../core/settle-all.ts'
import { describePartial } from '../../delivery/deployment/catch-up.ts'
import { readStatus } from '../../delivery/deployment/status.ts'
import { unsignedLine } from '../../delivery/gate/break-glass.ts'
import { type LiveState, lookAtHosts } from '../../delivery/verification/live-state.ts'
import type { StatusCell } from '../../ledger/ledger.ts'
import { addExample, type Perform } from '../command.ts'
import { table } from '../output.ts'
import { minute } from './text.ts'

interface StatusOptions {
  app?: string
  env?: string
  live?: boolean
  check?: boolean
}

export function addStatus(program: Command, perform: Perform): void {
  const command = program
    .command('status')
    .description('Which version runs in which environment, since when, by whose hand.')
    .option('--app <name>', 'only this application')
    .option('--env <name>', 'only this environment')
    .option('--live', 'ask the hosts, too, whether that is what runs')
    .option('--check', 'look at the hosts, and fail when a host runs something else')
  addExample(command, 'status --live')
  command.action(async ({ app, env: environment, live, check }: StatusOptions) => {
    await perform(command, async (context) => {
      const cells = await readStatus({ app, environment }, context)
      const states = live || check ? await lookAtHosts(cells, context) : []
      const failure = (check ? driftOf(states) : undefined) ?? errorsOf(states)
      return {
        json: { environments: cells.map((cell) => toJson(cell, states)) },
        text: statusText(cells, states),
        ...(failure && { failure }),
      }
    })
  })
}

function driftOf(states: readonly LiveState[]): StepError | undefined {
  const other = states.filter(({ healthy, error }) => !healthy && !error).map(stateText)
  if (other.length === 0) return undefined
  return new StepError('VERIFY_FAILED', other.join('\n'), {
    hint: 'Deploy again to put it right, or look at the host first.',
  })
}

/** What could be seen is shown all the same. */
const errorsOf = (states: readonly LiveState[]): StepError | undefined =>
  joinErrors(states.flatMap(({ error }) => error ?? []))

const stateText = ({ app, environment, host, state }: LiveState) =>
  `${app} in ${environment}, ${host}: ${state}`

function toJson(cell: StatusCell, states: readonly LiveState[]): object {
  const { current, ...rest } = cell
  const live = liveOf(cell, states)
  const reported = live.map(({ error: _error, ...state }) => state)
  return { ...rest, ...current, ...(live.length > 0 && { live: reported }) }
}

const liveOf = ({ app, environment }: StatusCell, states: readonly LiveState[]) =>
  states.filter((state) => state.app === app && state.environment === environment)

function statusText(cells: readonly StatusCell[], states: readonly LiveState[]): string {
  if (cells.length === 0) return 'Nothing was deployed yet.'
  const notes = cells.flatMap((cell) => notesOn(cell, states))
  const apps = new Set(cells.map(({ app }) => app))
  const main = apps.size > 1 ? matrix(cells) : details(cells)
  const more = apps.size > 1 ? ['', '-2: two releases behind. More with --app NAME.'] : []
  return [main, ...more, ...(notes.length > 0 ? ['', ...notes] : [])].join('\n')
}

/** An application: a row for each environment, with all that is known. */
function details(cells: readonly StatusCell[]): string {
  return table(
    ['application', 'environment', 'version', 'behind', 'since (UTC)', 'by', 'image', 'config'],
    cells.map(({ app, environment, current, behind }) => [
      ...[app, environment, current?.version ?? '–', current ? behindText(behind) : ''],
      ...[minute(current?.since), current?.by ?? ''],
      current ? shortDigest(current.digest) : '',
      current ? shortDigest(current.configRevision) : '',
    ]),
  )
}

/** Many applications: a row each, a column an environment. */
function matrix(cells: readonly StatusCell[]): string {
  const environments = [...new Set(cells.map(({ environment }) => environment))]
  const byApp = new Map<string, Map<string, StatusCell>>()
  for (const cell of cells) {
    const row = byApp.get(cell.app) ?? new Map<string, StatusCell>()
    byApp.set(cell.app, row.set(cell.environment, cell))
  }
  return table(
    ['application', ...environments],
    [...byApp].map(([app, row]) => [
      app,
      ...environments.map((environment) => cellText(row.get(environment))),
    ]),
  )
}

function cellText(cell: StatusCell | undefined): string {
  if (!cell?.current) return '–'
  const marks = [
    ...(cell.behind > 0 ? [`-${cell.behind}`] : []),
    ...(cell.bad ? ['bad'] : []),
    ...(cell.missing.length + cell.partial.length > 0 ? ['not on all hosts'] : []),
    ...(isCutOff(cell) ? ['cut off'] : []),
    ...(cell.lock ? ['locked'] : []),
    ...(cell.unsigned.length > 0 ? ['BREAK-GLASS'] : []),
  ]
  return [cell.current.version, ...(marks.length > 0 ? [`(${marks.join(', ')})`] : [])].join(' ')
}

const isCutOff = ({ underway, unsettled }: StatusCell) =>
  underway?.state === 'abandoned' || unsettled.length > 0

function behindText(behind: number): string {
  if (behind === 0) return 'newest'
  return behind === 1 ? '1 release' : `${behind} releases`
}

function notesOn(cell: StatusCell, states: readonly LiveState[]): string[] {
  const { app, environment, lock, underway, bad, missing, current, unsigned } = cell
  const partial = describePartial(cell)
  const where = `${app} in ${environment}`
  return [
    ...unsigned.map(unsignedLine),
    ...(underway?.state === 'running'
      ? [`${where}: ${underway.by} deploys ${underway.version} since ${minute(underway.since)} UTC`]
      : []),
    ...cutOffNotes(cell).map((note) => `${where}: ${note}`),
    ...(lock
      ? [`${where}: locked by ${lock.owner} until ${minute(lock.expiresAt)} UTC: ${lock.reason}`]
      : []),
    ...(bad ? [`${where}: ${current?.version} is marked bad by ${bad.by}: ${bad.reason}`] : []),
    ...(missing.length > 0
      ? [
          `${where}: ${missing.join(', ')} is behind, left out of ${current?.deployment}; \`crosscloud deploy --missing --env ${environment}\` catches up`,
        ]
      : []),
    ...(partial.length > 0
      ? [
          `${where}: ${partial.join(', ')}, which failed on other hosts; \`crosscloud deploy --missing --release … --env ${environment}\` goes on, \`crosscloud rollback --env ${environment} --reason …\` takes it back`,
        ]
      : []),
    ...liveOf(cell, states).map(stateText),
  ]
}

/** What the ledger does not know, as a deployer was killed, or could not restore a host. */
function cutOffNotes({ underway, unsettled, environment }: StatusCell): string[] {
  const look = `\`crosscloud status --live\` shows what runs`
  const way = `${look}; deploy again, or \`crosscloud rollback --env ${environment} --reason …\`, to put it right`
  const known = new Map(unsettled.map(({ deployment, version }) => [deployment, version]))
  const notes = [...known].map(([deployment, version]) => {
    const hosts = unsettled.flatMap((each) => (each.deployment === deployment ? each.host : []))
    return `${deployment} of ${version} may have left ${hosts.join(', ')} changed; ${way}`
  })
  if (underway?.state !== 'abandoned') return notes
  const { deployment, version, by, hosts } = underway
  const where = hosts.length > 0 ? `, and may have changed ${hosts.join(', ')}` : ''
  return [...notes, `${deployment} of ${version} by ${by} was abandoned${where}; ${way}`]
}
