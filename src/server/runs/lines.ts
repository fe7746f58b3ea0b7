import type { Line } from '../../api/events.ts'
import { toStepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import type { QueueAccess } from '../queue/access.ts'
import { emitOfRun } from '../stream/events.ts'
import { APPEND, KEPT, MOST_LINES, runKeys } from './keys.ts'

/** An entry of a run's log: a line, or how it ended, as JSON. */
export interface LogEntry {
  id: string
  event: 'line' | 'finished'
  data: string
}

const BATCH = 100
/** A Redis that is away must not fill the memory with lines. */
const MOST_WAITING = 10_000
const LONGEST = 16 * 1024
/** Sections that are told of at once. */
const MOST_SECTIONS = 50

/** The records of `--log json`, in the form of the API. */
export function readLine(text: string, mask: (text: string) => string): Line {
  const found = parse(text)
  const level = levels.has(found.level as Line['level']) ? (found.level as Line['level']) : 'output'
  const known = typeof found.text === 'string' && found.level === level
  const body = mask(known ? (found.text as string) : text).slice(0, LONGEST)
  const at = typeof found.time === 'string' ? found.time : new Date().toISOString()
  const section = /^section-(start|end)$/.exec(String(found.event))?.[1] as Line['section']
  return {
    at,
    level,
    text: body,
    depth: Number.isInteger(found.depth) ? Number(found.depth) : 0,
    ...(section && { section }),
    ...(typeof found.seconds === 'number' && { seconds: found.seconds }),
    ...(typeof found.failed === 'boolean' && { failed: found.failed }),
  }
}

const levels = new Set<Line['level']>(['info', 'warn', 'error', 'debug', 'output'])

function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

export interface LineWriter {
  add(line: Line): void
  /** Resolves when all lines are stored. */
  end(): Promise<void>
}

/** Stores the lines of a run: at most so many milliseconds after they came. */
export function openLineWriter(access: QueueAccess, run: string): LineWriter {
  const keys = runKeys(access.base)
  const waiting: string[] = []
  const sections: object[] = []
  let dropped = 0
  let timer: NodeJS.Timeout | undefined
  let flushing: Promise<void> = Promise.resolve()
  const flush = async () => {
    timer = undefined
    while (waiting.length > 0) {
      const lines = waiting.splice(0, 500)
      if (dropped > 0) lines.push(JSON.stringify(note(`${dropped} lines were left out here`)))
      dropped = 0
      await access
        .request(() =>
          access.redis.eval(APPEND, 2, keys.run(run), keys.lines(run), MOST_LINES, KEPT, ...lines),
        )
        .catch((error: unknown) => void toStepError(error))
    }
    // Whoever misses one sees it in the lines.
    const due = sections.splice(0)
    if (due.length > 0) await emitOfRun(access, run, 'run.section', due).catch(() => {})
  }
  return {
    add(line) {
      if (line.section && sections.length < MOST_SECTIONS) sections.push(sectionOf(line))
      if (waiting.length >= MOST_WAITING) dropped++
      else waiting.push(JSON.stringify(line))
      timer ??= setTimeout(() => {
        flushing = flushing.then(flush)
      }, BATCH)
    },
    async end() {
      clearTimeout(timer)
      await flushing
      await flush()
    },
  }
}

const sectionOf = ({ section, text, depth, failed }: Line) => ({
  ...{ title: text.slice(0, 200), section, depth },
  ...(failed !== undefined && { failed }),
})

export const note = (text: string): Line => ({
  at: new Date().toISOString(),
  level: 'warn',
  text,
  depth: 0,
})

export interface LogReader {
  /** Strictly after an entry; `trimmed` when entries between are gone. */
  read(run: string, after: string): Promise<{ entries: LogEntry[]; trimmed: boolean }>
  /** Resolves when the run may have entries after this one; all followers of a run share the look. */
  changed(run: string, after: string, signal: AbortSignal): Promise<void>
}

const PAGE = 500
const POLL = 80

export function openLogReader({ redis, base, request }: QueueAccess): LogReader {
  const keys = runKeys(base)
  const looks = new Map<string, Promise<string>>()
  /** The newest entry of a run, some moments from now. */
  const look = (run: string) => {
    const found =
      looks.get(run) ??
      wait(POLL)
        .then(() => {
          looks.delete(run)
          return request(() => redis.xrevrange(keys.lines(run), '+', '-', 'COUNT', 1))
        })
        .then(([last]) => last?.[0] ?? '0-0')
    looks.set(run, found)
    return found
  }
  return {
    read: (run, after) =>
      request(async () => {
        const found = await redis.xrange(keys.lines(run), `(${after}`, '+', 'COUNT', PAGE)
        const entries = found.map(([id, [event = 'line', data = '{}']]): LogEntry => {
          return { id, event: event === 'finished' ? event : 'line', data }
        })
        const [first] = entries
        const trimmed = first !== undefined && numberOf(first.id) > numberOf(after) + 1
        return { entries, trimmed }
      }),
    async changed(run, after, signal) {
      while (!signal.aborted) {
        if (numberOf(await look(run)) > numberOf(after)) return
      }
    },
  }
}

const numberOf = (id: string) => Number.parseInt(id, 10)
