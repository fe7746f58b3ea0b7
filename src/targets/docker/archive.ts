import { PassThrough, type Readable } from 'node:stream'
import type Docker from 'dockerode'
import { cancelled, StepError } from '../../core/errors.ts'
import { engineError, type HostName } from './errors.ts'

/** Milliseconds for which an engine may send nothing while an archive is read. */
export const ARCHIVE_TIMEOUT = 60_000

interface ArchiveOptions {
  host: HostName
  path: string
  /** Ends the reading. */
  signal: AbortSignal
  /** milliseconds */
  timeout: number
}

/**
 * A tar stream of a path inside a container. It may take any time as long as it goes on: an engine that
 * sends nothing while somebody reads ends it with UNAVAILABLE.
 */
export async function openArchive(
  container: Docker.Container,
  { host, path, signal, timeout }: ArchiveOptions,
): Promise<Readable> {
  const doing = `reading ${path} of container ${container.id.slice(0, 12)}`
  const late = () =>
    new StepError(
      'UNAVAILABLE',
      `host ${host.name}: ${doing}: nothing has come for ${timeout / 1000} s`,
      { hint: 'See whether its Docker Engine is alive, then run the command again.' },
    )
  const silence = new AbortController()
  const timer = setTimeout(() => silence.abort(late()), timeout)
  try {
    const source = (await container.getArchive({
      path,
      abortSignal: AbortSignal.any([signal, silence.signal]),
    })) as Readable
    return whileItComes(source, timeout, late, (error) =>
      signal.aborted ? cancelled(signal) : engineError(host, doing, error),
    )
  } catch (error) {
    if (silence.signal.aborted) throw silence.signal.reason
    const hint = 'See that the container still exists and has this path.'
    throw engineError(host, doing, error, hint)
  } finally {
    clearTimeout(timer)
  }
}

/** The same bytes; only the time in which the reader waits for the source counts. */
function whileItComes(
  source: Readable,
  timeout: number,
  late: () => StepError,
  explained: (error: Error) => StepError,
): Readable {
  const out = new PassThrough()
  const timer = setTimeout(() => {
    if (out.writableNeedDrain) timer.refresh()
    else out.destroy(late())
  }, timeout)
  // The connection keeps the process alive.
  timer.unref()
  source.on('data', () => timer.refresh())
  out.on('drain', () => timer.refresh())
  source.once('end', () => clearTimeout(timer))
  source.once('error', (error) => out.destroy(explained(error)))
  out.once('close', () => {
    clearTimeout(timer)
    source.on('error', () => {})
    source.destroy()
  })
  source.pipe(out)
  return out
}
