import { StepError } from '../../core/errors.ts'

/** Streams that are open at once: each keeps a connection, and asks Redis. */
export interface FollowerLimits {
  ofOne: number
  ofAll: number
}

export interface Followers {
  /** Counts one more of somebody, until what it gives is called; 429 when there are too many. */
  enter(who: string): () => void
}

export function limitFollowers({ ofOne, ofAll }: FollowerLimits): Followers {
  const counts = new Map<string, number>()
  let all = 0
  return {
    enter(who) {
      const own = counts.get(who) ?? 0
      if (own >= ofOne) throw tooMany(`you follow ${own} logs already`)
      if (all >= ofAll) throw tooMany(`${all} logs are followed already`)
      counts.set(who, own + 1)
      all++
      let left = false
      return () => {
        if (left) return
        left = true
        all--
        const rest = (counts.get(who) ?? 1) - 1
        if (rest > 0) counts.set(who, rest)
        else counts.delete(who)
      }
    },
  }
}

const tooMany = (what: string) =>
  new StepError('UNAVAILABLE', what, {
    hint: 'Close some; a log can be read again when its run is over.',
    retryAfter: 10_000,
    details: { status: 429 },
  })
