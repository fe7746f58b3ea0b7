import { formatRelease } from '../../delivery/release-name.ts'
import type { AuditEvent, ConfigChangeSet, Ledger, Mark } from '../../ledger/ledger.ts'

/** Something that was done to an environment beside deploying to it. */
export interface HistoryEvent {
  /** Marks have none. */
  id: string | null
  at: string
  app: string
  environment: string
  /** `unlock`, `instances stop`, `config`, `marked bad`, `marked good`… */
  action: string
  /** What it was done to: a release, keys of the config, containers, the owner of a lock. */
  subject: string | null
  by: string
  identity: string | null
  reason: string | null
}

export interface EventQuery {
  app: string | undefined
  environment: string | undefined
  /** Only marks of this version: nothing else is about a release. */
  version: string | undefined
  by: string | undefined
  /** ISO 8601, UTC: then or later, and before. */
  since: string | undefined
  until: string | undefined
}

/** Of each kind, at the most. */
const MOST = 1000

/** Newest first. `complete` is false when there are more of a kind than are read. */
export async function readEvents(
  { version, by, ...query }: EventQuery,
  ledger: Ledger,
): Promise<{ events: HistoryEvent[]; complete: boolean }> {
  const place = { ...query, limit: MOST }
  const [marks, audit, changes] = await Promise.all([
    ledger.markHistory({ ...place, version }),
    version === undefined ? ledger.events(place) : [],
    version === undefined ? ledger.configChanges(place) : [],
  ])
  const found = [...audit.map(ofAudit), ...changes.map(ofChange), ...marks.map(ofMark)]
  return {
    events: found
      .filter((event) => by === undefined || event.by === by)
      .sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : 0)),
    complete: [marks, audit, changes].every((some) => some.length < MOST),
  }
}

type Recorded = Pick<HistoryEvent, 'at' | 'app' | 'environment' | 'by'> & {
  identity?: string | undefined
  reason?: string | undefined
}

const common = ({ at, app, environment, by, identity, reason }: Recorded) => ({
  at,
  app,
  environment,
  by,
  identity: identity ?? null,
  reason: reason ?? null,
})

const ofAudit = (event: AuditEvent): HistoryEvent => ({
  id: event.id,
  ...common(event),
  action: event.action,
  subject: event.subject ?? null,
})

/** Keys alone: values may be secret. */
const ofChange = (set: ConfigChangeSet): HistoryEvent => ({
  id: set.id,
  ...common(set),
  action: 'config',
  subject: set.changes.map(({ key }) => key).join(', '),
})

const ofMark = (mark: Mark): HistoryEvent => ({
  id: null,
  ...common(mark),
  action: mark.bad ? 'marked bad' : 'marked good',
  subject: formatRelease(mark),
})
