import type { Digest } from '../core/digest.ts'
import { pageThrough } from '../ledger/history.ts'
import type { Ledger, Release } from '../ledger/ledger.ts'
import { formatRepository, type Repository } from '../registry/reference.ts'
import type { Context } from './context.ts'

/** The images that a repository keeps for its environments, and those it no longer needs. */
export interface RetentionPlan {
  repository: Repository
  /** Those whose images are kept there. */
  environments: string[]
  remove: Release[]
  kept: number
}

export interface RetentionFacts {
  /** All that are known, newest first. */
  releases: readonly Release[]
  /** Images that succeeded in each environment of the repository, newest first, each once. */
  deployed: readonly (readonly Digest[])[]
  /** Images that run, or are being deployed, anywhere. */
  running: readonly Digest[]
  /** How many are kept: of those deployed to each environment, and of the newest. */
  keep: number
}

/**
 * Releases that are no longer needed: not among the newest, not among the last that were deployed, so that
 * there is a way back, and running nowhere. Several releases may be one image: it stays for each.
 */
export function releasesToRemove({ releases, deployed, running, keep }: RetentionFacts): Release[] {
  const needed = new Set([
    ...releases.slice(0, keep).map(({ digest }) => digest),
    ...deployed.flatMap((some) => some.slice(0, keep)),
    ...running,
  ])
  return releases.filter(({ digest }) => !needed.has(digest))
}

/** Run now and then, it leaves nothing older. */
const MOST = 1000

/** One plan for each repository of crosscloud.yml, or for that of one environment. */
export async function planRetention(
  keep: number,
  only: string | undefined,
  context: Context,
): Promise<RetentionPlan[]> {
  const { app, environments } = await context.settings()
  const ledger = await context.ledger()
  const releases = await ledger.releases(app, MOST)
  const running = await findRunning(app, ledger)
  const groups = new Map<string, string[]>()
  for (const [name, { image }] of Object.entries(environments)) {
    const key = formatRepository(image)
    groups.set(key, [...(groups.get(key) ?? []), name])
  }
  const wanted = only === undefined ? undefined : (await context.environment(only)).image
  const plans = []
  for (const [key, names] of groups) {
    if (wanted !== undefined && formatRepository(wanted) !== key) continue
    const [first = ''] = names
    const { image: repository } = await context.environment(first)
    const deployed = await Promise.all(names.map((name) => deployedTo(name, keep, context)))
    const unneeded = releasesToRemove({ releases, deployed, running, keep })
    const remove = await presentIn(repository, unneeded, context)
    plans.push({ repository, environments: names, remove, kept: releases.length - unneeded.length })
  }
  return plans
}

/** What must stay on hosts, by the same rule as in repositories. */
export interface ImageNeeds {
  /** All that are known, newest first. */
  releases: readonly Release[]
  /** What runs, is being deployed, or was among the last deployments: the way back. */
  deployed: ReadonlySet<Digest>
  newest: ReadonlySet<Digest>
}

export async function imageNeeds(
  environments: readonly string[],
  keep: number,
  context: Context,
): Promise<ImageNeeds> {
  const { app } = await context.settings()
  const ledger = await context.ledger()
  const releases = await ledger.releases(app, MOST)
  const running = await findRunning(app, ledger)
  const deployed = await Promise.all(environments.map((name) => deployedTo(name, keep, context)))
  return {
    releases,
    deployed: new Set([...running, ...deployed.flat()]),
    newest: new Set(releases.slice(0, keep).map(({ digest }) => digest)),
  }
}

async function findRunning(app: string, ledger: Ledger): Promise<Digest[]> {
  const cells = await ledger.status({ app, environment: undefined })
  const digests = cells.flatMap(({ current }) => (current ? [current.digest] : []))
  const versions = cells.flatMap(({ underway, partial }) => [
    ...(underway ? [underway.version] : []),
    ...partial.map(({ version }) => version),
  ])
  const found = await Promise.all(versions.map((version) => ledger.findRelease(app, version)))
  return [...digests, ...found.flatMap((release) => (release ? [release.digest] : []))]
}

async function deployedTo(environment: string, keep: number, context: Context): Promise<Digest[]> {
  const { app } = await context.settings()
  const ledger = await context.ledger()
  const query = { app, environment, state: 'succeeded' } as const
  const digests = new Set<Digest>()
  const deployed = pageThrough((page) => ledger.deployments({ ...query, ...page }))
  for await (const { digest } of deployed) {
    if (digests.size >= keep) break
    digests.add(digest)
  }
  return [...digests]
}

/** A release for each image that is still there. */
async function presentIn(
  { registry, name }: Repository,
  releases: readonly Release[],
  context: Context,
): Promise<Release[]> {
  const client = await context.registry()
  const found: Release[] = []
  const seen = new Set<Digest>()
  for (const release of releases) {
    const { digest } = release
    if (seen.has(digest)) continue
    seen.add(digest)
    if ((await client.resolve({ registry, name, digest })) !== undefined) found.push(release)
  }
  return found
}

/** Removes the images of a plan; gives how many were there. */
export async function applyRetention(
  { repository, remove }: RetentionPlan,
  context: Context,
): Promise<number> {
  const client = await context.registry()
  let removed = 0
  for (const { digest } of remove) if (await client.deleteManifest(repository, digest)) removed++
  return removed
}
