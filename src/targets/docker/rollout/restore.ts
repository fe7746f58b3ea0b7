import { StepError, toStepError } from '../../../core/errors.ts'
import { type Log, namedLog } from '../../../core/log.ts'
import { chunks, countOf, oneByOne } from '../../strategy.ts'
import type { HostStanding, RolloutFailure } from '../../target.ts'
import { rolloutFailure } from './failure.ts'
import { prove, restoreAndProve } from './prove.ts'
import { type Change, errorOf, type RestoreOptions, restore, untouched } from './restore-host.ts'
import { cameAfter } from './younger.ts'

const LAST_LINES = 30

/** Why a rollout ended, or one of its hosts; without a host it was stopped between two of them. */
export interface Failure {
  change?: Change
  error: StepError
  /** Another host had failed: this host was in order, and only stopped on its way. */
  isHalted?: boolean
}

/**
 * Restores the old containers and returns the error to throw: first, at once, the hosts that failed
 * or were stopped on their way, as nothing or something bad serves there; then, unless changed hosts
 * `keep` the new container, those as many at a time as they were changed, and each batch serves again
 * before the next is touched. Once the rollout is cancelled, all at once, and whether they serve is
 * checked later: see `prove`.
 */
export async function restoreAll(
  changes: readonly Change[],
  failures: readonly Failure[],
  options: RestoreOptions,
  keep = false,
): Promise<RolloutFailure> {
  const { log } = options
  const [first] = failures
  if (!first) throw new StepError('INTERNAL', 'nothing failed, and all hosts are to be restored')
  if (!first.change) log.error(first.error.message)
  const cause = (await errorOf(options.checkLock)) ?? first.error
  if (cause.message !== first.error.message) log.error(cause.message)
  await restoreFailed(failures, options)
  const isLeft = ({ result, standing }: Change) => !keep && result && !standing
  await restoreBatches(changes.filter(isLeft), options)
  const hosts = await Promise.all(
    changes.map(async (each) => each.standing ?? kept(each) ?? (await untouched(each, options))),
  )
  return failureOf(changes, failures, cause, hosts, options)
}

/** Restores the hosts of these failures, all at once, and keeps in each change how it stands. */
export async function restoreFailed(
  failures: readonly Failure[],
  options: RestoreOptions,
): Promise<void> {
  const left = failures.flatMap(({ change, isHalted = false }) =>
    change?.next && !change.standing ? [{ change, isHalted }] : [],
  )
  const genuine = left.filter(({ isHalted }) => !isHalted)
  for (const { change } of options.signal.aborted ? [] : genuine) {
    const { name } = change.host
    // What failed came after the application's start.
    if (change.isVerified && !change.result) continue
    await showLastLines(change, genuine.length > 1 ? namedLog(options.log, name) : options.log)
  }
  await restoreBatch(
    left.map(({ change }) => change),
    options,
  )
}

async function restoreBatches(changes: readonly Change[], options: RestoreOptions): Promise<void> {
  const size = countOf((options.strategy ?? oneByOne).parallel, changes.length)
  const batches = chunks(changes, size)
  while (!options.signal.aborted && batches.length > 0) {
    await restoreBatch(batches.shift() ?? [], options)
  }
  await restoreBatch(batches.flat(), options)
}

async function restoreBatch(changes: readonly Change[], options: RestoreOptions): Promise<void> {
  if (changes.length === 0) return
  const names = changes.map(({ host }) => host.name).join(', ')
  const title = changes.length === 1 ? `bringing ${names} back` : `bringing ${names} back at once`
  const isCancelled = options.signal.aborted
  const bringBack = async (change: Change) => {
    change.standing = await (isCancelled ? restore : restoreAndProve)(change, options)
  }
  await options.log.section(title, () => Promise.all(changes.map(bringBack)))
}

function kept({ host, result }: Change): HostStanding | undefined {
  if (!result) return undefined
  const { instanceId, duration } = result
  const standing = { host: host.name, touched: true, instanceId, duration, error: undefined }
  return { ...standing, serves: 'new', result }
}

function failureOf(
  changes: readonly Change[],
  failures: readonly Failure[],
  cause: StepError,
  hosts: readonly HostStanding[],
  options: RestoreOptions,
): RolloutFailure {
  const proveAll = async () => {
    const proven = hosts.map((standing, at) => {
      const change = changes[at]
      return change ? prove(standing, change, options) : standing
    })
    return failureOf(changes, failures, cause, await Promise.all(proven), options)
  }
  const other = hosts.find(({ serves }) => serves === 'other')
  if (other) {
    const after = cameAfter(other.error ?? '', cause)
    return rolloutFailure(after, [{ host: other.host, error: after }], hosts, {
      labels: options.spec.labels,
      prove: proveAll,
    })
  }
  const named = failures.map(({ change, ...rest }) => ({ host: change?.host.name, ...rest }))
  const isCause = named[0]?.error === cause
  const [first, ...others] = named
  const all = first && !isCause ? [{ host: first.host, error: cause }, ...others] : named
  return rolloutFailure(cause, all, hosts, { labels: options.spec.labels, prove: proveAll })
}

async function showLastLines({ host, next }: Change, log: Log): Promise<void> {
  if (!next) return
  try {
    const lines = await host.logs(next.id, LAST_LINES)
    if (lines.length === 0) log.info(`host ${host.name}: ${next.name} has printed nothing`)
    for (const line of lines) log.output(line)
  } catch (error) {
    log.warn(toStepError(error).message)
  }
}
