import { toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Events, NumberedEvent } from './events.ts'

export interface Feed {
  /**
   * Hands every event after `after` to a listener, in order, or every one from now on where that is
   * undefined. `trimmed` is called first where some between are gone.
   */
  listen(listener: Listener, after: number | undefined): Promise<Listening>
  /** Whether anybody listens. */
  isAsked(): boolean
  close(): void
}

export interface Listening {
  /** The number of the event that was the newest when it began. */
  from: number
  end(): void
}

export interface Listener {
  events(events: readonly NumberedEvent[]): void
  /** Events are gone that it never had; what follows is after this number. */
  trimmed(newest: number): void
}

const POLL = 100
const PAUSE = 1000
const PAGE = 500
/** So many looks that found nothing, and it is asked whether Redis still counts as before. */
const QUIET = 50
/** Somebody who was away for longer looks at everything anew. */
const MOST_MISSED = 2000

/** One look at Redis serves all listeners of this server, however many there are. */
export function openFeed(events: Events, log: Pick<Log, 'warn'>): Feed {
  const listeners = new Set<Listener>()
  const all: Listener = {
    events: (found) => each(listeners, (listener) => listener.events(found)),
    trimmed: (newest) => each(listeners, (listener) => listener.trimmed(newest)),
  }
  const reader = createReader(events, all)
  let looking: Promise<void> | undefined
  let isClosed = false
  const look = async () => {
    while (listeners.size > 0 && !isClosed) {
      const pause = await reader.read().catch((error: unknown) => {
        log.warn(`reading events: ${toStepError(error).message}`)
        return PAUSE
      })
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
    looking = undefined
  }
  return {
    async listen(listener, after) {
      const newest = await events.newest()
      if (looking === undefined) reader.position = newest
      const later = holdBack(listener, after ?? 0)
      const from = reader.position
      listeners.add(later.listener)
      looking ??= look()
      try {
        if (after !== undefined) await catchUp(events, { after, from, newest }, listener)
      } catch (error) {
        listeners.delete(later.listener)
        throw error
      }
      later.release()
      return { from, end: () => void listeners.delete(later.listener) }
    },
    isAsked: () => listeners.size > 0,
    close() {
      isClosed = true
      listeners.clear()
    },
  }
}

function each(listeners: Iterable<Listener>, tell: (listener: Listener) => void): void {
  for (const listener of listeners) tell(listener)
}

function createReader(events: Events, listener: Listener) {
  let quiet = 0
  const reader = {
    position: 0,
    /** Gives the milliseconds until it makes sense to look again. */
    async read(): Promise<number> {
      const { position } = reader
      const found = await events.read(position, PAGE)
      const [first] = found
      if (first === undefined) {
        if (++quiet % QUIET === 0) await requireSame()
        return POLL
      }
      reader.position = found.at(-1)?.number ?? position
      if (first.number > position + 1) listener.trimmed(first.number - 1)
      listener.events(found)
      return found.length === PAGE ? 0 : POLL
    },
  }
  /** A Redis that lost its data begins to count anew. */
  const requireSame = async () => {
    const newest = await events.newest()
    if (newest >= reader.position) return
    reader.position = newest
    listener.trimmed(newest)
  }
  return reader
}

/** Keeps what comes while its listener still gets what it missed. */
function holdBack(listener: Listener, after: number) {
  const waiting: (() => void)[] = []
  let isReleased = false
  const inOrder = (tell: () => void) => {
    if (isReleased) tell()
    else waiting.push(tell)
  }
  return {
    listener: {
      events: (events) =>
        inOrder(() => listener.events(events.filter(({ number }) => number > after))),
      trimmed(newest) {
        inOrder(() => listener.trimmed(newest))
        after = 0
      },
    } satisfies Listener,
    release() {
      isReleased = true
      for (const tell of waiting.splice(0)) tell()
    },
  }
}

async function catchUp(
  events: Events,
  { after, from, newest }: { after: number; from: number; newest: number },
  listener: Listener,
): Promise<void> {
  // Of another Redis, or from before it lost its data.
  if (after > newest) return listener.trimmed(from)
  if (after >= from) return
  const found = await events.read(after, MOST_MISSED)
  const missed = found.filter(({ number }) => number <= from)
  const isWhole = missed[0]?.number === after + 1 && missed.at(-1)?.number === from
  if (isWhole) listener.events(missed)
  else listener.trimmed(from)
}
