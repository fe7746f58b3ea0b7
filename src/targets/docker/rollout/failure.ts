import { StepError } from '../../../core/errors.ts'
import { placeOf } from '../../labels.ts'
import type { HostStanding, RolloutFailure } from '../../target.ts'

/** What failed, and on which host; none when the rollout was stopped between two hosts. */
export interface HostFailure {
  host: string | undefined
  error: StepError
  isHalted?: boolean
}

interface RolloutFacts {
  /** Of the new containers. */
  labels: Readonly<Record<string, string>>
  prove(): Promise<RolloutFailure>
}

/** The cause, and what else failed, with how every host stands. */
export function rolloutFailure(
  cause: StepError,
  failures: readonly HostFailure[],
  standings: readonly HostStanding[],
  { labels, prove }: RolloutFacts,
): RolloutFailure {
  const what = failures.filter(({ isHalted }) => !isHalted).map(messageOf)
  const lines = standings.map((standing) => `  ${standing.host}: ${sentence(standing)}`)
  const error = new StepError(cause.code, [...new Set(what), ...lines].join('\n'), {
    hint: hintOf(cause, standings, labels),
    retryable: cause.retryable,
    cause,
  })
  const isUnproven = standings.some(({ unproven }) => unproven)
  return Object.assign(error, {
    standings: standings.map((standing) => {
      const own = failures.find(({ host }) => host === standing.host)
      return own ? { ...standing, error: standing.error ?? own.error.message } : standing
    }),
    prove: isUnproven ? prove : undefined,
  })
}

function messageOf({ host, error: { message } }: HostFailure): string {
  return host === undefined || message.includes(host) ? message : `host ${host}: ${message}`
}

/** Where only some hosts run the new release, it is said how that ends. */
function hintOf(
  { code, hint }: StepError,
  standings: readonly HostStanding[],
  labels: RolloutFacts['labels'],
): string | undefined {
  if (code === 'CANCELLED') return afterCancel(standings)
  if (!standings.some(({ serves, error }) => serves === 'new' && error === undefined)) return hint
  const { application = '…', version = '…', environment = '…' } = placeOf(labels)
  const way = `The hosts with the new container keep it: \`crosscloud status --env ${environment}\` shows them, \`crosscloud deploy --missing --release ${application}@${version} --env ${environment}\` brings it to the others, \`crosscloud rollback --env ${environment} --reason …\` takes it back.`
  return [hint, way].filter(Boolean).join(' ')
}

/** By now all that could be restored is restored. */
function afterCancel(standings: readonly HostStanding[]): string {
  return standings.some(({ serves }) => serves === 'unknown')
    ? 'Look at the hosts of which it is not known what serves, then run the same command again.'
    : 'Run the same command again.'
}

function sentence({ serves, touched, error, unproven }: HostStanding): string {
  if (serves === 'unknown' && !touched) {
    return `not touched; what serves there is not known: ${error ?? ''}`
  }
  if (serves === 'unknown') return `NOT brought back, look at it now: ${error ?? ''}`
  if (serves === 'other') return 'left as it is: another deployment came after this one'
  if (serves === 'new') return `the new container serves${error ? `: ${error}` : ''}`
  if (!touched) return `not touched, ${serves === 'old' ? 'the old container' : 'nothing'} serves`
  if (serves === 'nothing') return 'nothing serves, as before'
  if (unproven) return 'the old container runs again; its health was not looked at yet'
  return error ? `the old container runs again, but: ${error}` : 'the old container serves again'
}
