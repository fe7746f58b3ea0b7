import { setTimeout as sleep } from 'node:timers/promises'

/** Whether something comes true in time; looked at again and again. In milliseconds. */
export async function until(
  what: () => boolean | Promise<boolean>,
  timeout = 60_000,
): Promise<boolean> {
  for (const end = Date.now() + timeout; Date.now() < end; await sleep(50)) {
    if (await what()) return true
  }
  return false
}
