import { StepError } from '../../../core/errors.ts'
import type { ContainerInfo, ContainerSpec, Host } from '../host.ts'

export interface LockLabels {
  spec: Pick<ContainerSpec, 'labels'>
  /** The label of `spec` that holds the lock: `ledger:token`. */
  lockLabel?: string | undefined
}

/**
 * The final check of who may change a host is on the host: a deployer that lost its lock without
 * noticing, cut off or stopped, finds the container of the deployer that took the lock after it.
 */
export function refuseYounger(
  host: Host,
  containers: readonly (ContainerInfo | undefined)[],
  { spec, lockLabel }: LockLabels,
): void {
  if (lockLabel === undefined) return
  const ours = readLock(spec.labels[lockLabel])
  for (const container of containers) {
    const theirs = readLock(container?.labels[lockLabel])
    if (!theirs || !ours || theirs.ledger !== ours.ledger || theirs.token <= ours.token) continue
    throw cameAfter(
      `host ${host.name}: ${container?.name} was put there under lock ${theirs.token}, younger than ours, ${ours.token}`,
    )
  }
}

export function cameAfter(message: string, cause?: unknown): StepError {
  return new StepError('CONFLICT', message, {
    hint: 'Another deployment came after this one. Look at what runs, then deploy again.',
    cause,
  })
}

/** `ledger:token`; a ledger that was made anew counts from the start. */
export function readLock(label: string | undefined): { ledger: string; token: number } | undefined {
  const [, ledger, token] = /^(.+):(\d+)$/.exec(label ?? '') ?? []
  return ledger === undefined ? undefined : { ledger, token: Number(token) }
}
