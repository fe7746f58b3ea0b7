import type { Log } from '../../core/log.ts'

const INTERVAL = 60_000

/** Logs one warning a minute for each key: strangers may cause thousands. */
export function throttleWarnings(log: Log): (key: string, text: string) => void {
  const last = new Map<string, number>()
  return (key, text) => {
    const now = Date.now()
    if (now - (last.get(key) ?? 0) < INTERVAL) return
    last.set(key, now)
    log.warn(text)
  }
}
