import { bye, type Line, line, streamEvents } from '../api/events.ts'
import { type Finished, finished } from '../api/runs.ts'
import { sessionInfo } from '../api/session.ts'
import { describe, StepError } from '../core/errors.ts'
import type { HttpResponse } from '../core/http/client.ts'
import type { Log } from '../core/log.ts'
import { wait } from '../core/retry.ts'
import type { Credentials } from './credentials.ts'
import { readEvents } from './event-stream.ts'
import type { Requests } from './requests.ts'

export interface FollowOptions {
  requests: Requests
  credentials: Credentials
  log: Log
  signal: AbortSignal
  onLine(line: Line): Promise<void>
}

/** Between two streams of a run; a server that restarts needs seconds. */
const PAUSE = 1000
/** A session lives on by its use, and a stream is one request. */
const SIGN_OF_LIFE = 5 * 60_000

/** The log of a run until its end, whatever happens to the connection on the way. */
export async function followRun(run: string, options: FollowOptions): Promise<Finished> {
  const { requests, credentials, signal } = options
  const path = `runs/${encodeURIComponent(run)}/lines`
  const alive = setInterval(() => void showLife(options), SIGN_OF_LIFE)
  let lastId = ''
  try {
    for (;;) {
      const headers: Record<string, string> = { accept: 'text/event-stream' }
      if (lastId) headers['last-event-id'] = lastId
      const open = () => requests.open({ method: 'GET', path, headers, credentials, signal })
      const stream = await requests.whileAway(open, signal)
      const ended = await readStream(stream, options, lastId, (id) => {
        lastId = id
      })
      if (ended) return ended
      await wait(PAUSE, signal)
    }
  } finally {
    clearInterval(alive)
  }
}

/** How the run ended; undefined when only the stream did. */
async function readStream(
  { body }: HttpResponse,
  { log, onLine, credentials }: FollowOptions,
  from: string,
  seen: (id: string) => void,
): Promise<Finished | undefined> {
  try {
    for await (const { id, name, data } of readEvents(body as AsyncIterable<Buffer>, from)) {
      const event = parseEvent(name, data)
      if (name === 'finished') return finished.parse(event)
      if (name === 'line' && event) await onLine(line.parse(event))
      if (name === 'resync') log.warn('lines of the log are missing here: they were too many')
      if (name === 'bye' && event) await sayBye(bye.parse(event).reason, credentials)
      seen(id)
    }
  } catch (error) {
    if (error instanceof StepError) throw error
    // The connection broke: the log goes on where it was.
    log.debug(`the stream of the log ended: ${describe(error)}`)
  } finally {
    body.destroy()
  }
  return undefined
}

/** Undefined for events of later versions, and for what cannot be read. */
function parseEvent(name: string, data: string): unknown {
  if (!Object.hasOwn(streamEvents, name)) return undefined
  const schema = streamEvents[name as keyof typeof streamEvents]
  try {
    return schema.parse(JSON.parse(data))
  } catch (error) {
    if (name !== 'finished') return undefined
    throw new StepError('COMMAND_FAILED', 'how the run ended cannot be read', {
      hint: 'Use a crosscloud here of the same version as the server.',
      cause: error,
    })
  }
}

async function sayBye(
  reason: 'restart' | 'expired' | 'revoked',
  credentials: Credentials,
): Promise<void> {
  if (reason === 'restart') return
  if (reason === 'expired') return void (await credentials.renew())
  throw new StepError('UNAUTHORIZED', 'the server has ended this session: it was revoked', {
    hint: 'The run goes on there. Ask who has revoked it, then run the job again.',
  })
}

async function showLife({ requests, credentials, signal }: FollowOptions): Promise<void> {
  const request = { method: 'GET', path: 'session', answer: sessionInfo } as const
  await requests.sendOnce({ ...request, credentials, signal }).catch(() => {})
}
