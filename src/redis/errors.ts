import { describe, errorCodeOf, StepError } from '../core/errors.ts'

/** Redis begins an error with its code: `NOPERM this user has no permissions…`. */
function replyCode(error: unknown): string {
  return /^(?:-)?([A-Z]{2,})\b/.exec(describe(error))?.[1] ?? ''
}

const RIGHTS = new Set(['NOAUTH', 'WRONGPASS', 'NOPERM'])
const BUSY =
  /^(?:LOADING|CLUSTERDOWN|READONLY|MASTERDOWN|TRYAGAIN|BUSY|OOM|MISCONF|NOREPLICAS|UNKILLABLE|EXECABORT|MOVED|ASK)$/

/** Anything Redis or its connection throws, as an error that begins with `name`. */
export function redisError(name: string, thrown: unknown, earlier?: unknown): StepError {
  if (thrown instanceof StepError) return thrown
  const error = rootOf(thrown, earlier)
  const code = replyCode(error)
  if (RIGHTS.has(code)) {
    const reason = code === 'NOAUTH' ? 'it asks for a password' : describe(error)
    return new StepError('UNAUTHORIZED', `${name}: ${reason}`, {
      hint:
        code === 'NOPERM'
          ? 'The account needs +@read +scan, +@write +@transaction to change keys, and ~/* as keys.'
          : 'Check the user and the password in its URL.',
      cause: thrown,
    })
  }
  const system = errorCodeOf(error)
  if (code === '' || BUSY.test(code)) {
    const suffix = system && !describe(error).includes(system) ? ` (${system})` : ''
    const reason = VAGUE.test(describe(error))
      ? 'it does not answer'
      : `${describe(error)}${suffix}`
    return new StepError('UNAVAILABLE', `${name}: ${reason}`, {
      hint: /CERT|SSL|TLS|EPROTO|UNABLE_TO/.test(system ?? '')
        ? 'Check its ca:, and whether the server speaks TLS (rediss://).'
        : 'Check that Redis runs and that this machine reaches it.',
      cause: thrown,
    })
  }
  return new StepError('COMMAND_FAILED', `${name}: ${describe(error)}`, {
    cause: thrown,
    ...(isSelectError(error) && {
      hint: 'The number at the end of its URL is a database that it does not have.',
    }),
  })
}

/** Whether SELECT failed, by which a connection gets the database of its address. */
export function isSelectError(error: unknown): boolean {
  return (error as { command?: { name?: string } } | undefined)?.command?.name === 'select'
}

const VAGUE =
  /^(?:Connection is closed|Stream isn't writeable|Reached the max retries|Socket closed|All sentinels)/

/** ioredis throws "Connection is closed."; the reason is in its error event before. */
function rootOf(thrown: unknown, earlier: unknown): unknown {
  const { lastNodeError, previousErrors, cause } = thrown as {
    lastNodeError?: unknown
    previousErrors?: unknown[]
    cause?: unknown
  }
  // EXECABORT: Redis reported the error when the command was queued.
  if (previousErrors?.[0]) return previousErrors[0]
  if (lastNodeError) return rootOf(lastNodeError, earlier)
  if (!VAGUE.test(describe(thrown))) return thrown
  return cause ?? earlier ?? thrown
}
