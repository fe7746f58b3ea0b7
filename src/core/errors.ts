/**
 * What each error code means to a caller: its exit status, and whether trying again may help.
 * UNAUTHORIZED: it is not known, or not proven, who asks. FORBIDDEN: it is known, and has no right.
 */
const codes = {
  INPUT_INVALID: { exit: 2, retryable: false },
  UNAUTHORIZED: { exit: 1, retryable: false },
  FORBIDDEN: { exit: 1, retryable: false },
  NOT_FOUND: { exit: 1, retryable: false },
  CONFLICT: { exit: 1, retryable: false },
  GATE_CLOSED: { exit: 1, retryable: false },
  VERIFY_FAILED: { exit: 1, retryable: false },
  COMMAND_FAILED: { exit: 1, retryable: false },
  UNAVAILABLE: { exit: 75, retryable: true },
  CANCELLED: { exit: 1, retryable: false },
  INTERNAL: { exit: 1, retryable: false },
} as const

export type ErrorCode = keyof typeof codes

export const errorCodes = Object.keys(codes) as ErrorCode[]

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(codes, text)
}

/** The values that a message is made of, by name: code and arguments word it in another language. */
export type ErrorArguments = Readonly<Record<string, string | number>>

export interface StepErrorOptions<Details = unknown> {
  /** What to do next, in one sentence. */
  hint?: string | undefined
  /** The message without what another program printed, where the log has that already. */
  summary?: string | undefined
  cause?: unknown
  retryable?: boolean | undefined
  /** Milliseconds until the next try makes sense, as a server asks with Retry-After. */
  retryAfter?: number | undefined
  args?: ErrorArguments | undefined
  /** Facts for the code that catches the error; never printed. */
  details?: Details | undefined
}

/** The one error of crosscloud. The message names the object; the hint says what to do next. */
export class StepError<Details = unknown> extends Error {
  override readonly name = 'StepError'
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly summary: string | undefined
  readonly retryable: boolean
  readonly retryAfter: number | undefined
  readonly args: ErrorArguments | undefined
  readonly details: Details | undefined

  constructor(code: ErrorCode, message: string, options: StepErrorOptions<Details> = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint
    this.summary = options.summary
    this.retryable = options.retryable ?? codes[code].retryable
    this.retryAfter = options.retryAfter
    this.args = options.args
    this.details = options.details
  }

  /** 0 is success; 2 bad input; 75 worth retrying (sysexits' EX_TEMPFAIL); 1 otherwise. */
  get exitCode(): number {
    return this.retryable ? 75 : codes[this.code].exit === 75 ? 1 : codes[this.code].exit
  }

  /** The same error with these changes; its cause is this error unless another is given. */
  with(
    changes: StepErrorOptions<Details> & { code?: ErrorCode; message?: string },
  ): StepError<Details> {
    const { hint, summary, retryable, retryAfter, args, details } = this
    const { code = this.code, message = this.message, ...options } = changes
    const kept = { hint, summary, retryable, retryAfter, args, details, cause: this }
    return new StepError(code, message, { ...kept, ...options })
  }
}

export function isStepError(error: unknown, code?: ErrorCode): error is StepError {
  return error instanceof StepError && (code === undefined || error.code === code)
}

/** The error with what was being done before its message: `what: message`. */
export function explain(what: string, error: unknown): StepError {
  const known = toStepError(error)
  return known.with({
    message: `${what}: ${known.message}`,
    summary: known.summary === undefined ? undefined : `${what}: ${known.summary}`,
    cause: error,
  })
}

/** Any thrown value as a StepError. Unknown ones become INTERNAL, aborts CANCELLED. */
export function toStepError(error: unknown): StepError {
  if (error instanceof StepError) return error
  if (!(error instanceof Error)) return new StepError('INTERNAL', String(error))
  if (error.name === 'AbortError') {
    if (error.cause instanceof StepError) return error.cause
    return new StepError('CANCELLED', 'cancelled', { cause: error })
  }
  const system = systemErrors[errorCodeOf(error) ?? '']
  if (system) return new StepError(system[0], describe(error), { hint: system[1], cause: error })
  return new StepError('INTERNAL', describe(error), { cause: error })
}

/** Errors of the operating system that a person can put right. */
const systemErrors: Record<string, [ErrorCode, string]> = {
  ENOSPC: ['COMMAND_FAILED', 'The disk is full. Free some space and run the command again.'],
  EDQUOT: ['COMMAND_FAILED', 'The disk quota is used up. Free some space and run again.'],
  EACCES: ['COMMAND_FAILED', 'Check the owner and the mode of this path.'],
  EROFS: ['COMMAND_FAILED', 'The file system is read-only. Choose another folder.'],
  ENOENT: ['NOT_FOUND', 'Check the path.'],
}

/** The `code` of a Node error or of the deepest cause that has one: `ECONNREFUSED`, `ENOENT`… */
export function errorCodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const code = (error as NodeJS.ErrnoException).code
  if (typeof code === 'string' && code) return code
  if (error instanceof AggregateError) return errorCodeOf(error.errors[0])
  return errorCodeOf(error.cause)
}

/** One line for an error; Node leaves `message` empty for some connection errors. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.message || errorCodeOf(error) || error.name
}

/** Throws CANCELLED when the signal has fired. */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled(signal)
}

/** The error of an aborted signal: its reason when that is ours, CANCELLED otherwise. */
export function cancelled(signal: AbortSignal): StepError {
  return signal.reason instanceof StepError
    ? signal.reason
    : new StepError('CANCELLED', 'cancelled', { hint: 'Run the same command again to go on.' })
}
