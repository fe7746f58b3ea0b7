import type { HostCount, RolloutStrategy } from './rollout-settings.ts'

/** What a rollout does next; `hosts` are changed at once. */
export type Stage<T> =
  | { do: 'change'; hosts: readonly T[]; isCanary: boolean }
  | { do: 'watch'; hosts: readonly T[]; milliseconds: number }
  | { do: 'pause'; milliseconds: number }

export const oneByOne: RolloutStrategy = {
  parallel: { hosts: 1 },
  pause: 0,
  canary: { hosts: 0 },
  watch: 0,
  maxErrorRate: 5,
  onFailure: 'restore',
}

/**
 * The stages of a rollout over these hosts, in their order. There is no canary where no host would
 * follow it.
 */
export function planStages<T>(
  hosts: readonly T[],
  { parallel, pause, canary, watch }: Omit<RolloutStrategy, 'maxErrorRate' | 'onFailure'>,
): Stage<T>[] {
  const size = countOf(parallel, hosts.length)
  const first = countOf(canary, hosts.length)
  const canaries = first < hosts.length ? hosts.slice(0, first) : []
  const change = (part: readonly T[], isCanary: boolean) =>
    chunks(part, size).map((batch): Stage<T> => ({ do: 'change', hosts: batch, isCanary }))
  const watching: Stage<T>[] =
    canaries.length > 0 && watch > 0 ? [{ do: 'watch', hosts: canaries, milliseconds: watch }] : []
  return [
    ...withPauses(change(canaries, true), pause),
    ...watching,
    ...withPauses(change(hosts.slice(canaries.length), false), pause),
  ]
}

/** A share is rounded down, so that never more hosts are changed at once, but at least to one. */
export function countOf(count: HostCount, total: number): number {
  if ('hosts' in count) return Math.min(count.hosts, total)
  return Math.max(1, Math.floor((total * count.percent) / 100))
}

/**
 * The weight in percent that gives the canary this share of the requests, where the other hosts have
 * 100 each; no host gets more than that. Where no other host serves, no weight gives it less than all.
 */
export function canaryWeight(percent: number, total: number, canaries: number): number {
  if (percent >= 100 || canaries >= total) return 100
  const weight = (100 * percent * (total - canaries)) / (canaries * (100 - percent))
  return Math.min(100, Math.max(1, Math.round(weight)))
}

/** The percent of all requests that so many hosts with this weight get, of all that serve. */
export function shareOfRequests(weight: number, total: number, canaries: number): number {
  if (canaries >= total) return 100
  const own = weight * canaries
  return Math.min(99, Math.round((100 * own) / (own + 100 * (total - canaries))))
}

export function chunks<T>(items: readonly T[], size: number): T[][] {
  const found: T[][] = []
  for (let at = 0; at < items.length; at += Math.max(1, size)) {
    found.push(items.slice(at, at + Math.max(1, size)))
  }
  return found
}

function withPauses<T>(stages: readonly Stage<T>[], milliseconds: number): Stage<T>[] {
  if (milliseconds === 0) return [...stages]
  return stages.flatMap((stage, at) =>
    at === 0 ? [stage] : [{ do: 'pause' as const, milliseconds }, stage],
  )
}
