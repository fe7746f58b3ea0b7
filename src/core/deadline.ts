export interface Deadline {
  signal: AbortSignal
  /** Ends the waiting; the signal fires no more. */
  end(): void
}

/**
 * A signal that fires after so many milliseconds. Until then the process stays, which it does not for
 * `AbortSignal.timeout`, nor always for the socket of a fetch: without anything else to wait for, it
 * would end in the middle.
 */
export function startDeadline(milliseconds: number): Deadline {
  const controller = new AbortController()
  const timer = setTimeout(() => {
    controller.abort(new DOMException(`no answer within ${milliseconds / 1000} s`, 'TimeoutError'))
  }, milliseconds)
  return { signal: controller.signal, end: () => clearTimeout(timer) }
}

/** What ends, and is told before it does: the process. */
interface Ending {
  exitCode?: number | string | null | undefined
  once(event: 'exit', listener: () => void): unknown
}

/**
 * Node ends, with success, when nothing is left to wait for. A work that is not done by then failed.
 * @returns what is to be called when it is done
 */
export function failUnlessDone(program: Ending, tell: (text: string) => void): () => void {
  let done = false
  program.once('exit', () => {
    if (done || program.exitCode) return
    program.exitCode = 1
    tell('error: crosscloud ended before its work was done; run it again\n')
  })
  return () => {
    done = true
  }
}
