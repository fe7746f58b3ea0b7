import { isDirty, withoutMark } from '../../core/git/commit.ts'
import type { Release } from '../../ledger/ledger.ts'
import type { Context } from '../context.ts'
import { formatRelease } from '../release-name.ts'
import { lineage } from '../release-order.ts'
import { COMMIT, type Commit, commitsBetween } from '../source/commits.ts'
import type { Plan } from './schema.ts'

type Commits = Plan['commits']

/** The commits between two releases, by the checkout that the plan is made in. */
export async function planCommits(
  before: Release | undefined,
  after: Release,
  context: Context,
): Promise<Commits> {
  if (before === undefined) return unknown('nothing runs there yet')
  const [from, to] = [withoutMark(before.commit ?? ''), withoutMark(after.commit ?? '')]
  const unnamed = [before, after].find(({ commit }) => !COMMIT.test(withoutMark(commit ?? '')))
  if (unnamed) return unknown(`the commit of ${formatRelease(unnamed)} was not recorded`)
  const dirty = [before, after].filter(({ commit }) => isDirty(commit)).map(formatRelease)
  const why =
    dirty.length > 0 ? `${dirty.join(' and ')} was built with files that are in no commit` : null
  if (from === to) return { known: why === null, why, added: [], removed: [] }
  // In a checkout whose history is cut off, a list would lack commits without saying so.
  const related = await lineage(from, to, context)
  const added = related && (await commitsBetween(from, to, context))
  const removed = related && (await commitsBetween(to, from, context))
  if (!added || !removed) {
    return unknown(`${from.slice(0, 12)} and ${to.slice(0, 12)} are not both in this checkout`)
  }
  return { known: why === null, why, added: added.map(planned), removed: removed.map(planned) }
}

const unknown = (why: string): Commits => ({ known: false, why, added: [], removed: [] })

const planned = ({ id, author, at, subject }: Commit) => ({ id, author, at, subject })
