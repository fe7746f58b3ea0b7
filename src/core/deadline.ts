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
