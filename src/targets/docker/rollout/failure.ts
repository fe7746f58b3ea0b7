import { StepError } from '../../../core/errors.ts'
import type { HostStanding, RolloutFailure } from '../../target.ts'

/** The cause, with how every host stands. */
export function rolloutFailure(
  cause: StepError,
  failedHost: string,
  standings: readonly HostStanding[],
  prove: () => Promise<RolloutFailure>,
): RolloutFailure {
  const named = cause.message.includes(failedHost)
  const what = named ? cause.message : `host ${failedHost}: ${cause.message}`
  const lines = standings.map((standing) => `  ${standing.host}: ${sentence(standing)}`)
  const error = new StepError(cause.code, [what, ...lines].join('\n'), {
    hint: cause.code === 'CANCELLED' ? afterCancel(standings) : cause.hint,
    retryable: cause.retryable,
    cause,
  })
  const isUnproven = standings.some(({ unproven }) => unproven)
  return Object.assign(error, {
    standings: standings.map((standing) =>
      standing.host === failedHost
        ? { ...standing, error: standing.error ?? cause.message }
        : standing,
    ),
    prove: isUnproven ? prove : undefined,
  })
}

/** By now all that could be restored is restored. */
function afterCancel(standings: readonly HostStanding[]): string {
  return standings.some(({ serves }) => serves === 'unknown')
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
