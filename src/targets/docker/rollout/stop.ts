import type { Host } from '../host.ts'

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
