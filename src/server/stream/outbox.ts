/** An event on its way to a reader. */
export interface OutgoingEvent {
  event: string
  data: object
  /** Where the reader is with it: of all events, or of one log. */
  number?: number
  line?: { run: string; number: number }
}

export interface Position {
  number: number | undefined
  lines: Map<string, number>
}

export interface Outbox {
  /** Never waits: a reader that is too slow gets `resync` in place of what it missed. */
  announce(event: OutgoingEvent): void
  /** The reader has missed what is before this number. */
  resync(number: number): void
  /** Resolves when it is written: who sends lines waits for the reader. */
  send(event: OutgoingEvent): Promise<void>
  /** Writes until the signal fires, or `until` has resolved and all is written; throws what that throws. */
  drain(signal: AbortSignal, until: Promise<unknown>): Promise<void>
}

/** Announcements that wait for one reader. */
const MOST_WAITING = 1000

/** What waits for one reader; every event says where the reader is in all that it listens to. */
export function createOutbox(
  position: Position,
  write: (text: string) => Promise<void>,
  most = MOST_WAITING,
): Outbox {
  let announced: OutgoingEvent[] = []
  let lines: { event: OutgoingEvent; sent: () => void }[] = []
  let lost: number | undefined
  let wake = () => {}
  const textOf = ({ event, data, number, line }: OutgoingEvent) => {
    if (number !== undefined) position.number = number
    if (line) position.lines.set(line.run, line.number)
    return `id: ${formatPosition(position)}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`
  }
  const flush = async () => {
    const gone = lost === undefined ? [] : [{ event: 'resync', data: {}, number: lost }]
    const due = [...gone, ...announced]
    const sent = lines
    lost = undefined
    announced = []
    lines = []
    await write([...due, ...sent.map(({ event }) => event)].map(textOf).join(''))
    for (const each of sent) each.sent()
  }
  const isWaiting = () => lost !== undefined || announced.length + lines.length > 0
  return {
    announce(event) {
      if (announced.length < most) announced.push(event)
      else this.resync(event.number ?? 0)
      wake()
    },
    resync(number) {
      announced = []
      lost = number
      wake()
    },
    send: (event) =>
      new Promise((sent) => {
        lines.push({ event, sent })
        wake()
      }),
    async drain(signal, until) {
      let isOver = false
      let failure: { error: unknown } | undefined
      until
        .then(() => (isOver = true))
        .catch((error: unknown) => {
          failure = { error }
        })
        .finally(() => wake())
      signal.addEventListener('abort', () => wake(), { once: true })
      while (!signal.aborted) {
        if (failure) throw failure.error
        if (isWaiting()) await flush()
        else if (isOver) return
        else await new Promise<void>((resolve) => (wake = resolve))
      }
    },
  }
}

export const formatPosition = ({ number = 0, lines }: Position) =>
  [String(number), ...[...lines].map(([run, at]) => `${run}:${at}`)].join('.')

/** The id of an event, as the reader had it last. */
export function parsePosition(text: string | undefined): Position {
  if (text === undefined) return { number: undefined, lines: new Map() }
  const [number, ...logs] = text.split('.')
  const lines = logs.map((log): [string, number] => {
    const [run = '', at] = log.split(':')
    return [run, Number(at)]
  })
  return { number: Number(number), lines: new Map(lines) }
}
