import { cancelled, throwIfCancelled } from '../../../core/errors.ts'
import type { Host } from '../host.ts'

/** 128 + SIGKILL: what an engine reports of a process that did not end in its time. */
export const KILLED = 137

/** Seconds a container gets to stop once a deployment is cancelled: a runner soon kills the deployer. */
const HURRIED = 1

/**
 * Stops a container within `seconds`. When the signal fires meanwhile, the engine is asked again
 * with less time: it ends the container then, which completes the first request, too.
 */
export async function stopContainer(
  host: Host,
  id: string,
  seconds: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const hurry = () => host.stop(id, Math.min(seconds, HURRIED))
  if (signal?.aborted) return hurry()
  let hurried: Promise<unknown> | undefined
  // The result is that of the first request; this one only makes it shorter.
  const onAbort = () => {
    hurried = hurry().catch(() => {})
  }
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    await host.stop(id, seconds)
  } finally {
    signal?.removeEventListener('abort', onAbort)
    await hurried
  }
}

/**
 * Stops a container whose end nobody waits for: when the signal has fired, or fires meanwhile, it
 * throws CANCELLED, and a container that was asked to stop keeps all of its time.
 */
export async function stopUnhurried(
  host: Host,
  id: string,
  seconds: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  throwIfCancelled(signal)
  const stopping = host.stop(id, seconds)
  if (!signal) return stopping
  let onAbort = () => {}
  const over = new Promise<never>((_, reject) => {
    onAbort = () => reject(cancelled(signal))
    signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    await Promise.race([stopping, over])
  } finally {
    signal.removeEventListener('abort', onAbort)
    stopping.catch(() => {})
  }
}
