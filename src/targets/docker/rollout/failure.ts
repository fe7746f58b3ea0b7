import { StepError } from '../../../core/errors.ts'

/** How a host stands after a rollout that failed. */
export interface HostStanding {
  host: string
  /**
   * Which container serves now. `other`: that of a deployment that came after this one; `unknown`:
   * bringing back failed, a person must look.
   */
  serves: 'old' | 'new' | 'other' | 'nothing' | 'unknown'
  /** Whether the rollout had begun to change this host. */
  touched: boolean
  /** The container that serves now, if any. */
  containerId: string | undefined
  /** Why the rollout failed on this host, or why it was not brought back. */
  error: string | undefined
  /** Milliseconds spent on this host, bringing back included. */
  duration: number
  /** The old container runs again, and its health has not been looked at: there was no time. */
  unproven?: boolean
}

/** What `rollOut` throws once it has begun to change hosts: the cause's code, and every host's standing. */
export interface RolloutFailure extends StepError {
  readonly hosts: readonly HostStanding[]
  /**
   * Looks at the health of what was put back in a hurry, and gives the failure as it is known then.
   * Only there when something is unproven; no lock is needed for it.
   */
  readonly prove: (() => Promise<RolloutFailure>) | undefined
}

export function isRolloutFailure(error: unknown): error is RolloutFailure {
  return error instanceof StepError && 'hosts' in error && Array.isArray(error.hosts)
}

/** The cause, told with how every host stands. */
export function rolloutFailure(
  cause: StepError,
  failedHost: string,
  hosts: readonly HostStanding[],
  prove: () => Promise<RolloutFailure>,
): RolloutFailure {
  const named = cause.message.includes(failedHost)
  const what = named ? cause.message : `host ${failedHost}: ${cause.message}`
  const lines = hosts.map((standing) => `  ${standing.host}: ${sentence(standing)}`)
  const error = new StepError(cause.code, [what, ...lines].join('\n'), {
    hint: cause.code === 'CANCELLED' ? afterCancel(hosts) : cause.hint,
    retryable: cause.retryable,
    cause,
  })
  const told = hosts.map((standing) =>
    standing.host === failedHost
      ? { ...standing, error: standing.error ?? cause.message }
      : standing,
  )
  const isUnproven = hosts.some(({ unproven }) => unproven)
  return Object.assign(error, { hosts: told, prove: isUnproven ? prove : undefined })
}

/** By now nothing is being put back any more. */
function afterCancel(hosts: readonly HostStanding[]): string {
  return hosts.some(({ serves }) => serves === 'unknown')
    ? 'Look at the hosts that were not brought back, then run the same command again.'
    : 'Run the same command again.'
}

function sentence({ serves, touched, error, unproven }: HostStanding): string {
  if (serves === 'unknown') return `NOT brought back, look at it now: ${error ?? ''}`
  if (serves === 'other') return 'left as it is: another deployment came after this one'
  if (serves === 'new') return `the new container serves: ${error ?? ''}`
  if (!touched) return `not touched, ${serves === 'old' ? 'the old container' : 'nothing'} serves`
  if (serves === 'nothing') return 'nothing serves, as before'
  if (unproven) return 'the old container runs again; its health was not looked at yet'
  return error ? `the old container runs again, but: ${error}` : 'the old container serves again'
}
