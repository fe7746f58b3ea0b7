import { StepError } from '../../../core/errors.ts'
import { placeOf } from '../../labels.ts'
import type { ContainerInfo, Host } from '../host.ts'
import { type LockLabels, readLock } from './younger.ts'

export interface Ownership extends LockLabels {
  /** The labels of `spec` that name a container's owner; without them every container is ours. */
  ownerLabels?: readonly string[] | undefined
  /** Takes the names of containers over that are not ours, and keeps those containers. */
  adopt?: boolean | undefined
}

/** Whether a container is of this application, in this environment, by this ledger. */
export function isOwn(
  { labels }: Pick<ContainerInfo, 'labels'>,
  { spec, ownerLabels = [], lockLabel = '' }: Ownership,
): boolean {
  if (ownerLabels.some((name) => labels[name] !== spec.labels[name])) return false
  const [ours, theirs] = [readLock(spec.labels[lockLabel]), readLock(labels[lockLabel])]
  return !ours || !theirs || ours.ledger === theirs.ledger
}

/** Nothing is done to a container that only happens to have one of our names. */
export function refuseForeign(
  host: Host,
  containers: readonly (ContainerInfo | undefined)[],
  ownership: Ownership,
): void {
  if (ownership.adopt) return
  const foreign = containers.find((container) => container && !isOwn(container, ownership))
  if (!foreign) return
  const { application = '…', version = '…', environment = '…' } = placeOf(ownership.spec.labels)
  throw new StepError(
    'CONFLICT',
    `host ${host.name}: ${foreign.name} ${whose(foreign, ownership)}`,
    {
      hint: `Nothing was touched. Set another \`container.name\`, or take the name over with \`crosscloud deploy --release ${application}@${version} --env ${environment} --adopt\`: ${foreign.name} is stopped then, and kept.`,
    },
  )
}

function whose(
  { labels, image }: ContainerInfo,
  { spec, ownerLabels = [], lockLabel = '' }: Ownership,
): string {
  const theirs = ownerLabels.map((name) => labels[name])
  if (theirs.some((value) => value === undefined)) {
    return `was not put there by crosscloud: its image is ${image}`
  }
  if (ownerLabels.some((name) => labels[name] !== spec.labels[name])) {
    return `is of ${theirs.join(' in ')}, not of ${ownerLabels.map((name) => spec.labels[name]).join(' in ')}`
  }
  return `was deployed from another ledger, ${readLock(labels[lockLabel])?.ledger}`
}

/** What a container that is not ours is called once it has made way: it is never removed. */
export function adoptedName(name: string, id: string): string {
  return `${name}.adopted-${id.slice(0, 12)}`
}
