import type { Host } from '../host.ts'

/** Seconds a container has left once a deployment is cancelled: a runner soon kills the deployer. */
const HURRIED = 1

/**
 * Stops a container within `seconds`. When the signal fires meanwhile, the engine is asked once more
 * with less time: it ends the container then, which answers the first request, too.
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
  // The first request tells how it went; this one only makes it shorter.
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
