import { cancelled, StepError } from '../../core/errors.ts'

/** How much work there may be at once: each piece is a process. */
export interface TurnLimits {
  running: number
  waiting: number
  /** Of one address, running and waiting. */
  ofAddress: number
}

/** Who asks: a subject has one piece of work at a time. */
export interface Asker {
  subject: string
  address: string
  /** Fires when whoever asked is gone. */
  signal: AbortSignal
}

export interface Turns {
  /** Does the work when its turn comes; 429 when there is too much, CANCELLED when the asker is gone. */
  take<T>(asker: Asker, work: () => Promise<T>): Promise<T>
}

interface Waiting {
  begin(): void
}

export function createTurns({ running: most, waiting, ofAddress }: TurnLimits): Turns {
  const subjects = new Set<string>()
  const addresses = new Map<string, number>()
  const queue: Waiting[] = []
  let running = 0
  const begin = async (signal: AbortSignal) => {
    if (running < most) {
      running++
      return
    }
    await new Promise<void>((resolve, reject) => {
      const place: Waiting = {
        begin() {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      // Its place is free at once: who has left keeps nobody waiting.
      const leave = () => {
        queue.splice(queue.indexOf(place), 1)
        reject(cancelled(signal))
      }
      signal.addEventListener('abort', leave, { once: true })
      queue.push(place)
    })
  }
  const end = () => {
    const next = queue.shift()
    if (next) next.begin()
    else running--
  }
  return {
    async take({ subject, address, signal }, work) {
      if (signal.aborted) throw cancelled(signal)
      const own = addresses.get(address) ?? 0
      if (subjects.has(subject)) throw tooMany('a plan of yours is being made already')
      if (own >= ofAddress) throw tooMany(`${own} plans are being made for this address`)
      if (running >= most && queue.length >= waiting) throw tooMany('too many plans are being made')
      subjects.add(subject)
      addresses.set(address, own + 1)
      try {
        await begin(signal)
        try {
          return await work()
        } finally {
          end()
        }
      } finally {
        subjects.delete(subject)
        const rest = (addresses.get(address) ?? 1) - 1
        if (rest > 0) addresses.set(address, rest)
        else addresses.delete(address)
      }
    },
  }
}

const tooMany = (what: string) =>
  new StepError('UNAVAILABLE', what, {
    hint: 'Wait until it is made, then ask again.',
    retryAfter: 5000,
    details: { status: 429 },
  })
