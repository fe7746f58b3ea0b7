import { StepError, toStepError } from '../../../core/errors.ts'
import { wait } from '../../../core/retry.ts'
import type { ResponseCounts } from '../../proxy.ts'
import type { RolloutStrategy } from '../../rollout-settings.ts'
import { oneByOne, type Stage } from '../../strategy.ts'
import { throwIfStopped } from './change.ts'
import { waitUntilHealthy } from './health.ts'
import type { RolloutOptions } from './options.ts'
import type { Failure } from './restore.ts'
import type { Change } from './restore-host.ts'

/** Milliseconds between two looks at a canary. */
const LOOK = 5000
/** Of fewer responses no rate can be told. */
const FEW = 20

/** With a share, and a proxy that has weights, the canary gets that share of the requests. */
export async function startCanary(
  stages: readonly Stage<Change>[],
  { canary }: RolloutStrategy,
  { proxy, log }: RolloutOptions,
): Promise<void> {
  if (!('percent' in canary)) return
  const hosts = stages.flatMap((stage) =>
    stage.do === 'change' && stage.isCanary ? stage.hosts.map(({ host }) => host) : [],
  )
  if (hosts.length > 0) await proxy?.startCanary(hosts, canary.percent, log)
}

/** Looks at the canary every few seconds for so long; the last look comes at the end. */
export async function watchCanary(
  changes: readonly Change[],
  milliseconds: number,
  options: RolloutOptions,
): Promise<Failure[]> {
  const { log, signal } = options
  const names = changes.map(({ host }) => host.name).join(', ')
  const end = Date.now() + milliseconds
  return log.section(`watching ${names} for ${milliseconds / 1000} s`, async () => {
    const errors = await openErrorRates(changes, options)
    for (;;) {
      const unhealthy = await lookAt(changes, options)
      const failures = unhealthy.length > 0 ? unhealthy : await errors()
      if (failures.length > 0) return failures
      const left = end - Date.now()
      if (left <= 0) break
      const stopped = await wait(Math.min(LOOK, left), signal).catch(toStepError)
      if (stopped) return [{ error: stopped }]
    }
    log.info(`${names} stayed healthy; the other hosts follow`)
    return []
  })
}

async function lookAt(changes: readonly Change[], options: RolloutOptions): Promise<Failure[]> {
  const { spec, signal, log } = options
  const stopped = await throwIfStopped(options).catch(toStepError)
  if (stopped) return [{ error: stopped }]
  const failures: Failure[] = []
  await Promise.all(
    changes.map(async (change) => {
      const container = { id: change.result?.instanceId ?? '', name: spec.name }
      try {
        await waitUntilHealthy(change.host, container, spec.settings.health, signal)
      } catch (thrown) {
        const error = toStepError(thrown)
        log.error(error.message)
        failures.push({ change, error })
      }
    }),
  )
  return failures
}

/**
 * Compares the server errors of the canary with those of the other hosts from now on, where the proxy
 * counts them. A proxy that cannot be asked is not the canary's fault.
 */
async function openErrorRates(
  changes: readonly Change[],
  { proxy, log, strategy = oneByOne }: RolloutOptions,
): Promise<() => Promise<Failure[]>> {
  const names = new Set(changes.map(({ host }) => host.name))
  const count = async () => {
    const counts = await proxy?.responses().catch((error: unknown) => {
      log.warn(`the error rate is not known: ${toStepError(error).message}`)
      return undefined
    })
    return counts ?? new Map<string, ResponseCounts>()
  }
  const begun = await count()
  return async () => {
    const now = await count()
    const rates = ratesOf(begun, now, names)
    const [first] = changes
    if (!proxy || !first || !isTooHigh(rates, strategy.maxErrorRate)) return []
    const { canary, others } = rates
    const error = new StepError(
      'VERIFY_FAILED',
      `${proxy.name}: ${canary.failed} of ${canary.all} responses of ${[...names].join(', ')} were server errors, of the other hosts ${others.failed} of ${others.all}; the canary may have ${strategy.maxErrorRate} % more (rollout.max-error-rate)`,
      { hint: 'Read the log of the new container: its last lines are above.' },
    )
    log.error(error.message)
    return changes.map((change) => ({ change, error }))
  }
}

interface Rates {
  canary: ResponseCounts
  others: ResponseCounts
}

/** What was counted since, of the canary and of all others. */
export function ratesOf(
  begun: ReadonlyMap<string, ResponseCounts>,
  now: ReadonlyMap<string, ResponseCounts>,
  canaries: ReadonlySet<string>,
): Rates {
  const rates = { canary: { all: 0, failed: 0 }, others: { all: 0, failed: 0 } }
  for (const [host, { all, failed }] of now) {
    const sum = canaries.has(host) ? rates.canary : rates.others
    const before = begun.get(host)
    // A reload of the proxy makes it count from nothing.
    const isAnew = before === undefined || all < before.all
    sum.all += all - (isAnew ? 0 : before.all)
    sum.failed += failed - (isAnew ? 0 : before.failed)
  }
  return rates
}

/** Whether the canary has more errors than the others, by more than so many percent. */
export function isTooHigh({ canary, others }: Rates, most: number): boolean {
  if (canary.all < FEW) return false
  const percent = ({ all, failed }: ResponseCounts) => (all > 0 ? (100 * failed) / all : 0)
  return percent(canary) - percent(others) > most
}
