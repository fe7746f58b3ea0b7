import type { FastifyInstance } from 'fastify'
import type { Runs } from '../runs/runs.ts'
import { callerOf, requireAllowed } from './access.ts'
import { operations } from './contract/operations.ts'
import { withTypes } from './contract/typed.ts'
import type { ApiDependencies } from './dependencies.ts'
import { visibleRun } from './runs.ts'
import { type EventStream, frame, type OpenEventStream } from './streams/event-streams.ts'

/** `GET runs/:id/lines`: the log of a run as server-sent events. */
export function addLineRoutes(
  api: FastifyInstance,
  dependencies: ApiDependencies,
  openStream: OpenEventStream,
): void {
  const { runs, decide, audit } = dependencies
  const route = { schema: operations.followRun, exposeHeadRoute: false }
  withTypes(api).get('/runs/:id/lines', route, async (request, reply) => {
    const after = request.headers['last-event-id']
    const { id, app, environment } = await visibleRun(request, dependencies)
    const act = { verb: 'logs', app, environment, run: id } as const
    await requireAllowed(request, act, { decide, audit })
    const { subject } = callerOf(request)
    const may = (verb: 'view' | 'logs') => decide(subject, { verb, app, environment }).allowed
    await openStream(request, reply, {
      what: `the log of ${id}`,
      mayGoOn: () => may('view') && may('logs'),
      // A run may end without a worker; whoever looks at it finds out.
      onBeat: () => void runs.find(id).catch(() => {}),
      run: (stream) => follow({ id, after, stream }, runs),
    })
  })
}

interface Follower {
  id: string
  after: string
  stream: EventStream
}

async function follow({ id, stream, ...follower }: Follower, runs: Runs): Promise<void> {
  let { after } = follower
  let isOver = false
  while (!stream.signal.aborted) {
    const { entries, trimmed } = await runs.log.read(id, after)
    if (trimmed) await stream.write('event: resync\ndata: {}\n\n')
    const text = entries.map((entry) => frame(entry)).join('')
    if (text !== '') await stream.write(text)
    const last = entries.at(-1)
    if (last?.event === 'finished') return
    after = last?.id ?? after
    if (last !== undefined) continue
    // Somebody who had the last event before gets nothing more.
    if (isOver) return
    isOver = (await runs.find(id))?.finished !== undefined
    if (!isOver) await runs.log.changed(id, after, stream.signal)
  }
}
