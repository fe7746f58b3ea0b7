import type { Log } from '../core/log.ts'

const QUIET = 60_000

/** Warns of each thing once a minute: what strangers cause may come in thousands. */
export function warnSeldom(log: Log): (what: string, text: string) => void {
  const told = new Map<string, number>()
  return (what, text) => {
    const now = Date.now()
    if (now - (told.get(what) ?? 0) < QUIET) return
    told.set(what, now)
    log.warn(text)
  }
}
