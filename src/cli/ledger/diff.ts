import type { Command } from 'commander'
import { changedKeys, type RevisionChanges } from '../../config/rules/revision.ts'
import { shortDigest } from '../../core/digest.ts'
import { describe } from '../../core/errors.ts'
import { isDirty, withoutMark } from '../../core/git/commit.ts'
import type { Context } from '../../delivery/context.ts'
import { openImage } from '../../delivery/image/remote-image.ts'
import { findRelease } from '../../delivery/release.ts'
import { formatRelease, parseRelease } from '../../delivery/release-name.ts'
import { COMMIT, commitsBetween } from '../../delivery/source/commits.ts'
import type { Deployment, Release } from '../../ledger/ledger.ts'
import { parseRepository, withDigest } from '../../registry/reference.ts'
import { addExample, type CommandResult, type Perform } from '../command.ts'

export function addDiff(program: Command, perform: Perform): void {
  const command = program
    .command('diff')
    .argument('<from>', 'release, as application@version')
    .argument('<to>', 'release, as application@version')
    .description('What changed between two releases: commits, layers, keys of the config.')
  addExample(command, 'diff webapi@1.4.1 webapi@1.4.2')
  command.action(async (from: string, to: string) => {
    await perform(command, async (context) => {
      const ledger = await context.ledger()
      const before = await findRelease(parseRelease(from), ledger)
      const after = await findRelease(parseRelease(to), ledger)
      return compare(before, after, context)
    })
  })
}

async function compare(before: Release, after: Release, context: Context): Promise<CommandResult> {
  const commits = await readCommits(before, after, context)
  const layers = await compareLayers(before, after, context)
  const config = await compareConfig(before, after, context)
  const title = `${formatRelease(before)} → ${formatRelease(after)}`
  const sections = [
    ['Commits', commits.lines],
    ['Layers', layers.lines],
    ['Config', config.flatMap(({ lines }) => lines)],
  ] as const
  const text = sections.flatMap(([name, lines]) => ['', name, ...lines.map((line) => `  ${line}`)])
  return {
    json: {
      from: formatRelease(before),
      to: formatRelease(after),
      commits: commits.list,
      layers: layers.list,
      config: config.map(({ environment, changes }) => ({ environment, ...changes })),
    },
    text: [title, ...text].join('\n'),
  }
}

async function readCommits(before: Release, after: Release, context: Context) {
  const [a, b] = [withoutMark(before.commit ?? ''), withoutMark(after.commit ?? '')]
  if (!COMMIT.test(a) || !COMMIT.test(b)) {
    return { list: null, lines: ['not recorded for both releases'] }
  }
  const { list, lines } = await describeCommits(a, b, context)
  const dirty = [before, after].filter(({ commit }) => isDirty(commit)).map(formatRelease)
  return {
    list,
    lines: [...lines, ...dirty.map((name) => `${name} was built with files that are in no commit`)],
  }
}

async function describeCommits(a: string, b: string, context: Context) {
  if (a === b) return { list: [], lines: [`the same, ${a.slice(0, 12)}`] }
  const commits = await commitsBetween(a, b, context)
  if (commits === undefined) {
    return { list: null, lines: [`${a.slice(0, 12)}..${b.slice(0, 12)}, not in this checkout`] }
  }
  const list = commits.map(({ short, author, subject }) => `${short} ${author}: ${subject}`)
  return {
    list,
    lines: list.length > 0 ? list : [`none from ${a.slice(0, 12)}; it was a step back`],
  }
}

async function compareLayers(before: Release, after: Release, context: Context) {
  const read = async (release: Release) => {
    const reference = withDigest(parseRepository(release.repository), release.digest)
    const image = await openImage(await context.registry(), reference, { what: 'reading' })
    return image.content.layers
  }
  try {
    const [old, now] = await Promise.all([read(before), read(after)])
    const known = new Set(old.map(({ digest }) => digest))
    const kept = new Set(now.map(({ digest }) => digest))
    const added = now.filter(({ digest }) => !known.has(digest))
    const gone = old.filter(({ digest }) => !kept.has(digest))
    const lineOf = (sign: string) => (layer: { digest: string; size: number }) =>
      `${sign} ${shortDigest(layer.digest)} ${layer.size} bytes`
    const same = `${now.length - added.length} of ${now.length} are the same`
    return {
      list: { same: now.length - added.length, added, removed: gone },
      lines: [same, ...gone.map(lineOf('-')), ...added.map(lineOf('+'))],
    }
  } catch (error) {
    return { list: null, lines: [`not compared: ${describe(error)}`] }
  }
}

interface ConfigChanges {
  environment: string
  changes: object
  lines: string[]
}

/** In each environment that both ran in: the keys that differ between what they ran with. */
async function compareConfig(
  before: Release,
  after: Release,
  context: Context,
): Promise<ConfigChanges[]> {
  const ledger = await context.ledger()
  const newest = async ({ app, version }: Release) => {
    const all = await ledger.deployments({ app, version, state: 'succeeded', limit: 200 })
    const byEnvironment = new Map<string, Deployment>()
    for (const deployment of all.toReversed()) byEnvironment.set(deployment.environment, deployment)
    return byEnvironment
  }
  const [old, now] = [await newest(before), await newest(after)]
  const shared = [...now.keys()].filter((environment) => old.has(environment)).sort()
  if (shared.length === 0) {
    const lines = ['they never ran in the same environment']
    return [{ environment: '', changes: {}, lines }]
  }
  return Promise.all(
    shared.map(async (environment) => {
      const revisions = [old, now].map((ran) => ran.get(environment)?.configRevision ?? '')
      const [a, b] = await Promise.all(
        revisions.map((revision) => ledger.findConfigRevision(revision)),
      )
      if (a === undefined || b === undefined) {
        return { environment, changes: {}, lines: [`${environment}: not kept`] }
      }
      return describeChanges(environment, changedKeys(a, b))
    }),
  )
}

function describeChanges(environment: string, changes: RevisionChanges): ConfigChanges {
  const { added, removed, changed, unknown } = changes
  const lines = [
    ...added.map((key) => `${environment}: + ${key}`),
    ...removed.map((key) => `${environment}: - ${key}`),
    ...changed.map((key) => `${environment}: ~ ${key}`),
    ...unknown.map((key) => `${environment}: ? ${key} (a secret)`),
  ]
  return { environment, changes, lines: lines.length > 0 ? lines : [`${environment}: the same`] }
}
