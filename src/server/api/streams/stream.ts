import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { RunLines, StreamQuery, Topic } from '../../../api/stream.ts'
import type { RunRecord } from '../../runs/run.ts'
import { type Runs, unknownRun } from '../../runs/runs.ts'
import type { NumberedEvent } from '../../stream/events.ts'
import type { Feed } from '../../stream/feed.ts'
import {
  createOutbox,
  formatPosition,
  type Outbox,
  type Position,
  parsePosition,
} from '../../stream/outbox.ts'
import { callerOf, type Decide, mayView, requireAllowed } from '../access.ts'
import { operations } from '../contract/operations.ts'
import { withTypes } from '../contract/typed.ts'
import type { ApiDependencies } from '../dependencies.ts'
import type { EventStream, OpenEventStream } from './event-streams.ts'

interface StreamDependencies extends ApiDependencies {
  feed: Feed
}

/** `GET stream`: all that changes, for one reader, in one connection. */
export function addStreamRoute(
  api: FastifyInstance,
  dependencies: StreamDependencies,
  openStream: OpenEventStream,
): void {
  const route = { schema: operations.followChanges, exposeHeadRoute: false }
  withTypes(api).get('/stream', route, async (request, reply) => {
    const { query } = request
    const at = request.headers['last-event-id']
    const names = query.topics.flatMap(({ run }) => (run === undefined ? [] : [run]))
    const logs = await Promise.all(
      [...new Set(names)].map((run) => openLog(run, request, dependencies)),
    )
    const { subject } = callerOf(request)
    const may = remembered(
      (verb, app, environment) => dependencies.decide(subject, { verb, app, environment }).allowed,
    )
    await openStream(request, reply, {
      what: 'a stream',
      mayGoOn: () => logs.every(({ app, environment }) => may('logs', app, environment)),
      // A run may end without a worker; whoever looks at it finds out.
      onBeat: () => {
        for (const { id } of logs) dependencies.runs.find(id).catch(() => {})
      },
      run: (stream) =>
        deliver({ query, position: parsePosition(at), logs, may, stream }, dependencies),
    })
  })
}

/** A log that the caller may follow; a run that they may not view is not there. */
async function openLog(
  id: string,
  request: FastifyRequest,
  dependencies: ApiDependencies,
): Promise<RunRecord> {
  const run = await dependencies.runs.find(id)
  if (!run || !mayView(request, run.app, run.environment, dependencies)) throw unknownRun(id)
  const { app, environment } = run
  await requireAllowed(request, { verb: 'logs', app, environment, run: id }, dependencies)
  return run
}

type May = (verb: Parameters<Decide>[1]['verb'], app: string, environment: string) => boolean

/** The policy does not change while the server runs; it is asked once for each place. */
function remembered(decide: May): May {
  const known = new Map<string, boolean>()
  return (verb, app, environment) => {
    const place = JSON.stringify([verb, app, environment])
    const found = known.get(place) ?? decide(verb, app, environment)
    known.set(place, found)
    return found
  }
}

interface Delivery {
  query: StreamQuery
  position: Position
  logs: readonly RunRecord[]
  may: May
  stream: EventStream
}

async function deliver(
  { query, position, logs, may, stream }: Delivery,
  { feed, runs }: StreamDependencies,
): Promise<void> {
  const { signal } = stream
  const asked = { ...position, lines: new Map<string, number>() }
  for (const { id } of logs) asked.lines.set(id, position.lines.get(id) ?? 0)
  const outbox = createOutbox(asked, stream.write)
  const wanted = new Set(query.topics.flatMap(({ name }) => (name === 'lines' ? [] : [name])))
  const listener = {
    events(events: readonly NumberedEvent[]) {
      for (const event of events) {
        if (isFor(event, wanted, query.app, may)) outbox.announce(outgoing(event))
      }
    },
    trimmed: (newest: number) => outbox.resync(newest),
  }
  const listening = wanted.size > 0 ? await feed.listen(listener, position.number) : undefined
  asked.number ??= listening?.from
  try {
    // Whoever is cut off before the first event comes again with this.
    if (listening) await stream.write(`id: ${formatPosition(asked)}\n\n`)
    const followed = Promise.all(
      logs.map(({ id }) => followLines(id, asked, { outbox, signal }, runs)),
    )
    await outbox.drain(signal, listening ? followed.then(() => new Promise(() => {})) : followed)
  } finally {
    listening?.end()
  }
}

const topicOf: Readonly<Record<string, Topic>> = {
  run: 'runs',
  status: 'status',
  approval: 'approvals',
  config: 'config',
  agent: 'agents',
}

/** Each event passes the policy of the one who listens. */
function isFor(
  { type, app = '*', environment = '*' }: NumberedEvent,
  wanted: ReadonlySet<Topic>,
  apps: readonly string[] | undefined,
  may: May,
): boolean {
  const topic = topicOf[type.split('.')[0] ?? '']
  if (topic === undefined || !wanted.has(topic)) return false
  if (topic === 'agents') return may('admin', '*', '*')
  if (apps !== undefined && !apps.includes(app)) return false
  return (
    may('view', app, environment) && (topic !== 'config' || may('config-read', app, environment))
  )
}

const outgoing = ({ type, number, ...data }: NumberedEvent) => ({ event: type, data, number })

interface Following {
  outbox: Outbox
  signal: AbortSignal
}

/** The lines of a run, as they come; the last event says that it is over. */
async function followLines(
  run: string,
  { lines }: Position,
  { outbox, signal }: Following,
  runs: Runs,
): Promise<void> {
  let after = lines.get(run) ?? 0
  let isOver = false
  while (!signal.aborted) {
    const { entries, trimmed } = await runs.log.read(run, `${after}-0`)
    const last = entries.at(-1)
    if (last === undefined) {
      // Somebody who had the last line before gets nothing more.
      if (isOver) return
      isOver = (await runs.find(run))?.finished !== undefined
      if (!isOver) await runs.log.changed(run, `${after}-0`, signal)
      continue
    }
    if (trimmed) await outbox.send({ event: 'resync', data: { run } })
    const finished = last.event === 'finished'
    const read = entries.filter(({ event }) => event === 'line').map(({ data }) => JSON.parse(data))
    after = Number.parseInt(last.id, 10)
    const line = { run, number: after }
    const data: RunLines = { run, lines: read, finished }
    await outbox.send({ event: 'run.lines', data, line })
    if (finished) return
  }
}
