import { Writable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import type Docker from 'dockerode'
import { throwIfCancelled } from '../../core/errors.ts'
import { retry, wait } from '../../core/retry.ts'
import type { Caller } from './call.ts'

/** Milliseconds between two looks at whether a container has ended. */
const POLL = 300
/** How long the last lines may take once it has. */
const LAST_LINES_TIMEOUT = 3000
/** Longer lines are cut in pieces. */
const LONGEST_LINE = 16_384
/** A network that is away for half a minute ends no command. */
const TRIES = { attempts: 7, firstPause: 500 }

/** A container whose output is attached to. */
export interface Attached {
  docker: Docker
  id: string
  call: Caller
  start(): Promise<void>
}

/**
 * Starts a container, hands over the lines of its output, and waits until it has ended. Attached
 * before the start, whatever its log driver keeps. Where the connection breaks, lines are lost, and
 * the end is not.
 * @returns its exit code
 */
export async function runToEnd(
  { docker, id, call, start }: Attached,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<number> {
  throwIfCancelled(signal)
  const container = docker.getContainer(id)
  const short = id.slice(0, 12)
  const closing = new AbortController()
  const stream = await call(`attaching to ${short}`, () =>
    container.attach({
      stream: true,
      stdout: true,
      stderr: true,
      abortSignal: closing.signal,
    }),
  )
  const ended = new Promise<void>((resolve) => {
    for (const event of ['end', 'close', 'error']) stream.once(event, resolve)
  })
  stream.on('error', () => {})
  const flush = linesOf(docker, stream, onLine)
  try {
    await start()
    for (;;) {
      const { State } = await retry(
        () => call(`inspecting ${short}`, (abortSignal) => container.inspect({ abortSignal })),
        { ...TRIES, signal },
      )
      if (!State.Running && State.Status !== 'created') {
        const last = AbortSignal.any([signal, closing.signal])
        await Promise.race([ended, wait(LAST_LINES_TIMEOUT, last)])
        return State.ExitCode
      }
      await Promise.race([ended, wait(POLL, signal)])
      // Once the stream has ended nothing else slows this loop down.
      await wait(POLL / 3, signal)
    }
  } finally {
    closing.abort()
    flush()
  }
}

/** @returns what hands over lines that have no end yet */
function linesOf(
  docker: Docker,
  stream: NodeJS.ReadableStream,
  onLine: (line: string) => void,
): () => void {
  const [stdout, stderr] = [lineReader(onLine), lineReader(onLine)]
  docker.modem.demuxStream(stream, stdout.writable, stderr.writable)
  return () => {
    for (const { flush } of [stdout, stderr]) flush()
  }
}

function lineReader(onLine: (line: string) => void) {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  const put = (text: string) => {
    const lines = (rest + text).split(/\r?\n/)
    rest = lines.pop() ?? ''
    for (const line of lines) onLine(line)
    for (; rest.length > LONGEST_LINE; rest = rest.slice(LONGEST_LINE)) {
      onLine(rest.slice(0, LONGEST_LINE))
    }
  }
  const write = (bytes: Buffer, _encoding: unknown, done: () => void) => {
    put(decoder.write(bytes))
    done()
  }
  const flush = () => {
    if (rest !== '') onLine(rest)
    rest = ''
  }
  return { writable: new Writable({ write }), flush }
}
