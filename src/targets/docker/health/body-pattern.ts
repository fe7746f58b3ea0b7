import { Worker } from 'node:worker_threads'

interface Limits {
  /** Milliseconds; then the search is given up. */
  within: number
  signal: AbortSignal | undefined
}

/** As text: a bundle has no other file that a thread could start from. */
const SEARCH = `
const { parentPort, workerData } = require('node:worker_threads')
parentPort.postMessage(new RegExp(workerData.pattern).test(workerData.text))
`

/**
 * Whether a pattern is found in a text. A pattern may need longer than anybody can wait, and while one
 * is searched for nothing else runs in its thread: so it has a thread of its own, which can be ended.
 * Rejects when there is no result in time, when the signal fires, and for what is no pattern.
 */
export async function isFound(
  pattern: string,
  text: string,
  { within, signal }: Limits,
): Promise<boolean> {
  if (signal?.aborted) throw new Error('cancelled')
  const worker = new Worker(SEARCH, { eval: true, execArgv: [], workerData: { pattern, text } })
  let timer: NodeJS.Timeout | undefined
  let cancel = () => {}
  try {
    return await new Promise<boolean>((resolve, reject) => {
      cancel = () => reject(new Error('cancelled'))
      const late = () => reject(new Error(`/${pattern}/ needs too long for its body`))
      timer = setTimeout(late, Math.max(1, within))
      signal?.addEventListener('abort', cancel, { once: true })
      worker.once('message', resolve)
      worker.once('error', reject)
    })
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', cancel)
    await worker.terminate()
  }
}
