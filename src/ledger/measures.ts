import type { Delivery } from './ledger.ts'

/**
 * The four measures of delivery (https://dora.dev/guides/dora-metrics-four-keys/), for an
 * application in an environment. Durations are milliseconds; undefined where nothing was measured.
 */
export interface Measures {
  app: string
  environment: string
  /** Changes that arrived: deployments that succeeded, rollbacks not counted. */
  deployments: number
  /** Those a day. */
  frequency: number
  leadTime: number | undefined
  /** 0 to 1, of all changes that ended. */
  failureRate: number | undefined
  /** Changes that failed. */
  failures: number
  restoreTime: number | undefined
  rollbacks: number
}

export const definitions: Record<string, string> = {
  'deployment frequency':
    'deployments that succeeded, a day, over the whole time asked for; rollbacks are not counted',
  'lead time':
    "median time from the commit (where unknown: from the baking) to the end of a release's first deployment that succeeded there",
  'change failure rate':
    'share of deployments that failed, were abandoned, were rolled back from, or whose release is marked bad there',
  'time to restore':
    'median time from the end of such a failure to the end of the next deployment or rollback that succeeded there',
}

const DAY = 24 * 3_600_000

/** By application and environment, from deliveries in the order they started. */
export function measure(deliveries: readonly Delivery[], since: string, until: Date): Measures[] {
  const days = Math.max(1, (until.getTime() - Date.parse(since)) / DAY)
  const groups = new Map<string, Delivery[]>()
  for (const delivery of deliveries) {
    const key = `${delivery.app} ${delivery.environment}`
    const group = groups.get(key)
    if (group) group.push(delivery)
    else groups.set(key, [delivery])
  }
  return [...groups.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, group]) => measureGroup(group, days))
}

function measureGroup(group: readonly Delivery[], days: number): Measures {
  const [{ app, environment } = { app: '', environment: '' }] = group
  const changes = group.filter(({ kind, state }) => kind === 'deploy' && state !== 'running')
  const succeeded = changes.filter(({ state }) => state === 'succeeded')
  const versions = new Map(group.map(({ id, version }) => [id, version]))
  const leftBehind = new Set(
    group.flatMap(({ kind, state, replaced, version }) => {
      const isBack = kind === 'rollback' && state === 'succeeded' && replaced !== undefined
      return isBack && versions.get(replaced) !== version ? [replaced] : []
    }),
  )
  const failed = changes.filter(
    ({ id, state, bad }) => state !== 'succeeded' || bad || leftBehind.has(id),
  )
  return {
    app,
    environment,
    deployments: succeeded.length,
    frequency: succeeded.length / days,
    leadTime: median(leadTimes(succeeded)),
    failureRate: changes.length === 0 ? undefined : failed.length / changes.length,
    failures: failed.length,
    restoreTime: median(restoreTimes(group, failed)),
    rollbacks: group.filter(({ kind, state }) => kind === 'rollback' && state === 'succeeded')
      .length,
  }
}

function leadTimes(succeeded: readonly Delivery[]): number[] {
  return succeeded.flatMap(({ isFirst, finishedAt, committedAt, bakedAt }) =>
    isFirst && finishedAt !== undefined
      ? [Math.max(0, Date.parse(finishedAt) - Date.parse(committedAt ?? bakedAt))]
      : [],
  )
}

function restoreTimes(group: readonly Delivery[], failed: readonly Delivery[]): number[] {
  const failures = new Set(failed)
  const times: number[] = []
  let broken: number[] = []
  for (const delivery of group) {
    if (delivery.finishedAt === undefined) continue
    const end = Date.parse(delivery.finishedAt)
    if (failures.has(delivery)) broken.push(end)
    else if (delivery.state === 'succeeded') {
      times.push(...broken.map((begin) => Math.max(0, end - begin)))
      broken = []
    }
  }
  return times
}

export function median(numbers: readonly number[]): number | undefined {
  if (numbers.length === 0) return undefined
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2
}
