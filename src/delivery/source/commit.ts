import { isStepError } from '../../core/errors.ts'
import { withoutMark } from '../../core/git/commit.ts'
import { readWithGit } from '../../core/git/git.ts'
import type { Context } from '../context.ts'

export interface CommitFacts {
  /** `Name <mail>` */
  author: string | undefined
  /** ISO 8601, UTC. */
  committedAt: string | undefined
}

/**
 * What git knows of a commit; for CI's own commit its variables come first. Undefined where there is
 * no such commit.
 */
export async function describeCommit(
  recorded: string | undefined,
  { actor, cwd, signal }: Context,
): Promise<CommitFacts> {
  const commit = recorded && withoutMark(recorded)
  const known = isCommitOf(actor, commit)
    ? { author: actor.author, committedAt: actor.committedAt }
    : { author: undefined, committedAt: undefined }
  if (known.author !== undefined && known.committedAt !== undefined) return known
  if (commit === undefined || !/^[0-9a-f]{7,64}$/.test(commit)) return known
  try {
    const args = ['show', '--no-patch', '--format=%an <%ae>%n%cI', commit, '--']
    const { stdout } = await readWithGit(args, { cwd, signal })
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

/** CI's author is that of the commit that it runs for, which need not be the commit that was baked. */
function isCommitOf(actor: Context['actor'], commit: string | undefined): boolean {
  if (commit === undefined || actor.commit === undefined) return true
  return commit.length >= 7 && actor.commit.startsWith(commit)
}
