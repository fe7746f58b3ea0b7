import { isStepError, StepError } from '../core/errors.ts'
import { readWithGit } from '../core/git/git.ts'
import type { Release } from '../ledger/ledger.ts'
import type { Context } from './context.ts'
import { formatRelease } from './release-name.ts'
import { COMMIT } from './source/commits.ts'

/**
 * Stops a release that is older than a release that runs there: its pipeline was slower, or an old
 * job was started again. `older` confirms that this is meant.
 */
export async function refuseOlder(
  { release, environment, older }: { release: Release; environment: string; older: boolean },
  running: readonly string[],
  context: Context,
): Promise<void> {
  for (const version of new Set(running)) {
    const found = await findSetback(release, version, environment, context)
    if (!found) continue
    if (older || !found.certain) {
      context.log.warn(`${found.text}: this sets ${environment} back`)
      continue
    }
    throw new StepError('CONFLICT', found.text, {
      hint: `Leave it as it is, unless the newer one is bad: \`crosscloud rollback --env ${environment} --reason "…"\` goes back then. To deploy the older release all the same, add \`--older\`.`,
    })
  }
}

/** Warns, before approvals are requested, that a deployment would stop: a late approval is easily overlooked. */
export async function warnOfOlder(
  release: Release,
  environment: string,
  context: Context,
): Promise<void> {
  const { app } = release
  const [cell] = await (await context.ledger()).status({ app, environment })
  if (!cell?.current) return
  const found = await findSetback(release, cell.current.version, environment, context)
  if (!found) return
  const means = found.certain
    ? 'its deployment stops unless it is given `--older`'
    : `this would set ${environment} back`
  context.log.warn(`${found.text}: ${means}`)
}

interface Setback {
  text: string
  /** Releases of two branches have no order but that of their commits. */
  certain: boolean
}

async function findSetback(
  release: Release,
  version: string,
  environment: string,
  context: Context,
): Promise<Setback | undefined> {
  const running = await (await context.ledger()).findRelease(release.app, version)
  if (!running || version === release.version) return undefined
  const [ours, theirs] = [formatRelease(release), formatRelease(running)]
  const setback = (why: string, certain = true) => ({
    text: `${theirs} runs in ${environment}, and ${ours} is older: ${why}`,
    certain,
  })
  const line = await lineage(release.commit, running.commit, context)
  if (line === 'before') return setback('git has its commit before the other')
  if (line === 'after') return undefined
  // Of what was released by hand no branch is known.
  const { branch } = release
  const isOneBranch = branch === running.branch && (branch !== undefined || line !== 'apart')
  if (isOneBranch && line !== 'same' && release.committedAt && running.committedAt) {
    if (release.committedAt < running.committedAt) {
      return setback(`its commit was made earlier, at ${release.committedAt}`)
    }
    if (release.committedAt > running.committedAt) return undefined
  }
  const [first] = await (await context.ledger()).inOrder(release.app, [version, release.version])
  if (first !== release.version) return undefined
  if (isOneBranch) return setback('it was recorded earlier')
  if (branch === running.branch)
    return setback('it was recorded earlier, on another line of commits', false)
  const branches = [release.branch, running.branch].map((name) => name ?? 'none').join(' and ')
  return setback(`it was recorded earlier, on another branch (${branches})`, false)
}

/**
 * How a commit is related to another; `apart` when they have a common ancestor and neither is the
 * other's ancestor. Undefined where this checkout does not have both, or its history is cut off between them.
 */
export async function lineage(
  commit: string | undefined,
  other: string | undefined,
  { cwd, signal }: Pick<Context, 'cwd' | 'signal'>,
): Promise<'before' | 'same' | 'after' | 'apart' | undefined> {
  if (!commit || !other || !COMMIT.test(commit) || !COMMIT.test(other)) return undefined
  if (commit === other) return 'same'
  const mergeBase = async (...args: string[]) => {
    try {
      await readWithGit(['merge-base', ...args], { cwd, signal })
      return true
    } catch (error) {
      if (isStepError(error, 'CANCELLED')) throw error
      return false
    }
  }
  if (await mergeBase('--is-ancestor', commit, other)) return 'before'
  if (await mergeBase('--is-ancestor', other, commit)) return 'after'
  return (await mergeBase(commit, other)) ? 'apart' : undefined
}
