import type { Readable } from 'node:stream'
import type Docker from 'dockerode'
import { startDeadline } from '../../../core/deadline.ts'
import { cancelled } from '../../../core/errors.ts'
import type { LogLine, LogQuery } from '../../target.ts'
import { VERB_TIMEOUT } from '../call.ts'
import { engineError } from '../errors.ts'
import type { Operating } from './operating.ts'
import { pieces, timedLines } from './output.ts'

/** A container's output with the time of each line, as it comes. */
export async function* readLog(
  { docker, host, call, closed }: Operating,
  id: string,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  const doing = `reading the log of ${id.slice(0, 12)}`
  const { Config } = await call(doing, (abortSignal) =>
    docker.getContainer(id).inspect({ abortSignal }),
  )
  const ended = AbortSignal.any([signal, closed])
  let response: Readable | undefined
  try {
    response = await open(docker, id, query, ended)
    yield* timedLines(pieces(response, Config.Tty), Config.Tty)
  } catch (error) {
    throw ended.aborted ? cancelled(ended) : engineError(host, doing, error)
  } finally {
    response?.destroy()
  }
}

/** dockerode's own call streams only what it follows, and takes other logs for JSON where they look so. */
async function open(
  docker: Docker,
  id: string,
  { lines, since, until, follow = false }: LogQuery,
  signal: AbortSignal,
): Promise<Readable> {
  const deadline = startDeadline(VERB_TIMEOUT)
  const options = {
    stdout: true,
    stderr: true,
    timestamps: true,
    follow,
    tail: lines ?? 'all',
    ...(since !== undefined && { since: unixTime(since) }),
    ...(until !== undefined && { until: unixTime(until) }),
  }
  try {
    return await new Promise<Readable>((resolve, reject) => {
      const request = {
        path: `/containers/${id}/logs?`,
        method: 'GET',
        isStream: true,
        abortSignal: AbortSignal.any([signal, deadline.signal]),
        statusCodes: { 200: true, 404: 'no such container', 500: 'server error' },
        options,
      }
      docker.modem.dial(request, (error, response) =>
        error ? reject(error) : resolve(response as Readable),
      )
    })
  } finally {
    deadline.end()
  }
}

/** `1764500000.123456789`, with the nanoseconds that a Date would lose. */
function unixTime(time: string): string {
  const [, fraction = ''] = /\.(\d+)Z$/.exec(time) ?? []
  return `${Math.floor(Date.parse(time) / 1000)}.${fraction.padEnd(9, '0')}`
}
