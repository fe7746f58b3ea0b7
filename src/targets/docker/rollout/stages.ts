import { StepError, toStepError } from '../../../core/errors.ts'
import { namedLog } from '../../../core/log.ts'
import { wait } from '../../../core/retry.ts'
import { oneByOne, planStages, type Stage } from '../../strategy.ts'
import type { Host } from '../host.ts'
import { startCanary, watchCanary } from './canary.ts'
import { throwIfStopped } from './change.ts'
import type { RolloutOptions } from './options.ts'
import { replaceContainer } from './replace.ts'
import { type Failure, restoreFailed } from './restore.ts'
import type { Change } from './restore-host.ts'

/** How the changes ended. */
export interface Ending {
  /** Empty when every host is changed. */
  failures: Failure[]
  /** Whether hosts that are changed keep the new container in spite of the failures. */
  keep: boolean
}

type ChangeStage = Extract<Stage<Change>, { do: 'change' }>

/**
 * Changes the hosts stage by stage, until one fails; with `on-failure: continue` failed hosts are
 * restored at once and the others go on. A canary that fails ends the rollout, whatever is set.
 */
export async function changeHosts(
  changes: readonly Change[],
  serving: ReadonlySet<Host>,
  options: RolloutOptions,
): Promise<Ending> {
  const strategy = options.strategy ?? oneByOne
  const { onFailure } = strategy
  const survived: Failure[] = []
  const stages = planStages(changes, strategy)
  const refused = await startCanary(stages, strategy, options).then(() => undefined, toStepError)
  if (refused) return { failures: [{ error: refused }], keep: false }
  for (const stage of stages) {
    const isCanary = stage.do === 'watch' || (stage.do === 'change' && stage.isCanary)
    const goesOn = onFailure === 'continue' && !isCanary
    const failures = await performStage(stage, serving, goesOn, options)
    if (failures.length === 0) continue
    const isOver = !goesOn || stage.do === 'pause' || (await isStopped(options))
    if (isOver) {
      const keep = onFailure !== 'restore' && !isCanary
      return { failures: [...survived, ...failures], keep }
    }
    await restoreFailed(failures, options)
    survived.push(...failures)
  }
  return { failures: survived, keep: onFailure !== 'restore' }
}

/** Whether no other host may be changed: the rollout was cancelled, or its lock is lost. */
async function isStopped(options: RolloutOptions): Promise<boolean> {
  return throwIfStopped({ checkLock: options.checkLock, signal: options.signal }).then(
    () => false,
    () => true,
  )
}

async function performStage(
  stage: Stage<Change>,
  serving: ReadonlySet<Host>,
  goesOn: boolean,
  options: RolloutOptions,
): Promise<Failure[]> {
  if (stage.do === 'change') {
    const error = stage.isCanary ? undefined : await endCanary(options)
    return error ? [{ error }] : changeBatch(stage, serving, goesOn, options)
  }
  const { milliseconds } = stage
  if (stage.do === 'watch') return watchCanary(stage.hosts, milliseconds, options)
  options.log.info(`waiting ${milliseconds / 1000} s before the next hosts`)
  try {
    await wait(milliseconds, options.signal)
    await throwIfStopped(options)
    return []
  } catch (error) {
    return [{ error: toStepError(error) }]
  }
}

const endCanary = async ({ proxy }: RolloutOptions): Promise<StepError | undefined> =>
  proxy?.endCanary().then(() => undefined, toStepError)

/** All hosts of a batch at once. A host that fails halts the others, unless the rest goes on. */
async function changeBatch(
  { hosts: changes, isCanary }: ChangeStage,
  serving: ReadonlySet<Host>,
  goesOn: boolean,
  options: RolloutOptions,
): Promise<Failure[]> {
  const { signal, log } = options
  const halting = new AbortController()
  const halt = AbortSignal.any([signal, halting.signal])
  const failures: Failure[] = []
  const isAlone = changes.length === 1
  const changeOne = async (change: Change) => {
    const { host } = change
    const own = isAlone ? log : namedLog(log, host.name)
    try {
      const served = serving.has(host)
      change.result = await replaceContainer(change, served, { ...options, log: own, halt })
    } catch (thrown) {
      const error = toStepError(thrown)
      const isHalted = halting.signal.aborted && error === halting.signal.reason
      failures.push({ change, error, isHalted })
      if (!isHalted) own.error(error.message)
      if (!goesOn) halting.abort(haltedBy(host.name))
    }
  }
  const names = changes.map(({ host }) => host.name).join(', ')
  await log.section(isCanary ? `${names} (canary)` : names, () =>
    Promise.all(changes.map(changeOne)),
  )
  return failures
}

/** The reason of the first `abort` stays: each host is halted by the host that failed first. */
function haltedBy(host: string): StepError {
  return new StepError('CANCELLED', `was stopped on its way, as ${host} had failed`)
}
