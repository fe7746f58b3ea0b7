export interface Deadline {
  signal: AbortSignal
  /** Cancels the deadline: the signal does not fire any more. */
  end(): void
}

/**
 * A signal that fires after so many milliseconds and keeps the process alive until then. With
 * `AbortSignal.timeout`, whose timer is unreferenced, Node could exit in the middle of a fetch.
 */
export function startDeadline(milliseconds: number): Deadline {
  const controller = new AbortController()
  const timer = setTimeout(() => {
    controller.abort(new DOMException(`no answer within ${milliseconds / 1000} s`, 'TimeoutError'))
  }, milliseconds)
  return { signal: controller.signal, end: () => clearTimeout(timer) }
}
