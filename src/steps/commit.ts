import { isStepError } from '../core/errors.ts'
import { run } from '../core/process.ts'
import type { Context } from './step.ts'

export interface CommitFacts {
  /** `Name <mail>` */
  author: string | undefined
  /** ISO 8601, UTC. */
  committedAt: string | undefined
}

/** What git knows of a commit; CI's own word comes first. Nothing where there is no such commit. */
export async function describeCommit(
  commit: string | undefined,
  { actor, cwd, signal }: Context,
): Promise<CommitFacts> {
  const known = { author: actor.author, committedAt: actor.committedAt }
  if (known.author !== undefined && known.committedAt !== undefined) return known
  if (commit === undefined || !/^[0-9a-f]{7,64}$/.test(commit)) return known
  try {
    const args = ['show', '--no-patch', '--format=%an <%ae>%n%cI', commit, '--']
    const { stdout } = await run('git', args, { cwd, signal })
    const [author = '', time = ''] = stdout.trim().split('\n')
    return {
      author: known.author ?? (author.slice(0, 255) || undefined),
      committedAt: known.committedAt ?? new Date(time).toISOString(),
    }
  } catch (error) {
    if (isStepError(error, 'CANCELLED')) throw error
    return known
  }
}
