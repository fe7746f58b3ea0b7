import type { AnnouncementName } from '../../api/stream.ts'
import { toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Ledger, StatusCell } from '../../ledger/ledger.ts'
import { sha256Hex } from '../sources/source.ts'
import type { Events } from './events.ts'

interface Watched {
  ledger: Pick<Ledger, 'status' | 'configChanges' | 'approvals' | 'releases'>
  /** Those of its settings: the ledger forgets one that was only locked. */
  environments: readonly string[]
}

interface WatchOptions {
  names: readonly string[]
  open(app: string): Promise<Watched>
  events: Pick<Events, 'emitChanged' | 'sawAll'>
  /** Whether anybody listens on this server. */
  isAsked(): boolean
  log: Pick<Log, 'debug'>
  /** Milliseconds between two looks. */
  pause?: number | undefined
}

const PAUSE = 5000
/** Of which the decisions are looked at, besides those that run. */
const NEWEST = 3
const RECENT_CHANGES = 20

/**
 * Tells of what others write into the ledgers: deployments from terminals and pipelines, approvals,
 * config. Only while somebody listens; of several servers the first one that sees it tells it.
 */
export function watchLedgers(options: WatchOptions): { close(): void } {
  const { names, isAsked, log, pause = PAUSE } = options
  let isLooking = false
  const look = async () => {
    if (isLooking || !isAsked()) return
    isLooking = true
    for (const app of names) {
      await lookAt(app, options).catch((error: unknown) => {
        log.debug(`watching ${app}: ${toStepError(error).message}`)
      })
    }
    isLooking = false
  }
  const timer = setInterval(look, pause)
  timer.unref()
  return { close: () => clearInterval(timer) }
}

export const stateOf = (seen: unknown) => sha256Hex(JSON.stringify(seen) ?? '')

async function lookAt(app: string, { open, events }: WatchOptions): Promise<void> {
  const { ledger, environments } = await open(app)
  const watcher = `watched ${app}`
  const tell = async (type: AnnouncementName, environment: string, state: unknown) => {
    const text = stateOf(state)
    await events.emitChanged({ type, app, environment }, text, watcher)
  }
  const cells = await ledger.status({ app })
  const places = new Set([...environments, ...cells.map(({ environment }) => environment)])
  for (const environment of places) {
    const cell = cells.find((each) => each.environment === environment)
    await tell('status.changed', environment, cell && standingOf(cell))
  }
  for (const [environment, ids] of await decisions(app, cells, ledger)) {
    await tell('approval.changed', environment, ids)
  }
  const changes = await ledger.configChanges({ app, limit: RECENT_CHANGES })
  for (const environment of new Set(changes.map((change) => change.environment))) {
    const newest = changes.find((change) => change.environment === environment)
    await tell('config.changed', environment, newest?.id)
  }
  await events.sawAll(watcher)
}

/** Without what a lock's heartbeat changes. */
const standingOf = ({ lock, ...cell }: StatusCell) => ({
  ...cell,
  lock: lock && { owner: lock.owner, reason: lock.reason },
})

async function decisions(
  app: string,
  cells: readonly StatusCell[],
  ledger: Pick<Ledger, 'approvals' | 'releases'>,
): Promise<Map<string, string[]>> {
  const newest = await ledger.releases(app, NEWEST)
  const running = cells.flatMap(({ current }) => (current ? [current.version] : []))
  const found = new Map<string, string[]>(cells.map(({ environment }) => [environment, []]))
  for (const version of new Set([...newest.map((release) => release.version), ...running])) {
    for (const { environment, id } of await ledger.approvals(app, undefined, version)) {
      found.set(environment, [...(found.get(environment) ?? []), id])
    }
  }
  return found
}
