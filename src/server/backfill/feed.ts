import { compilePatterns } from '../routes/routes.ts'

/** One push as the server it came to remembers it, whether it could be delivered or not. */
export interface PushRecord {
  /** Later ones have greater ones. */
  id: number
  /** When; milliseconds since 1970. */
  at: number
  kind: 'push' | 'tag'
  ref: string
  /** What the ref pointed to before; empty when it was made. */
  before: string
  /** What it points to now; empty when it was deleted. */
  after: string
  /** Login of who did it. */
  by: string
}

/** What an event needs beyond that. */
export interface CommitFacts {
  /** SHA of the commit, also where the ref points to a tag object. */
  commit: string
  title: string
  skipped?: string | undefined
  url: string
}

/** Where a server tells what was pushed to its projects. */
export interface PushFeed {
  source: 'gitlab' | 'github'
  /** Those to be asked about whether or not they delivered something before. */
  named: readonly string[]
  /** Whether the settings allow this one. */
  allows(project: string): boolean
  /** Newest first. */
  read(project: string, signal: AbortSignal): AsyncIterable<PushRecord>
  /** NOT_FOUND when the commit is gone. */
  describe(project: string, sha: string, signal: AbortSignal): Promise<CommitFacts>
  /** Has webhooks deliver again that the server has stopped; how many it were. */
  wake?(project: string, signal: AbortSignal): Promise<number>
}

/** How far back a feed is read. */
export const LOOK_BACK = 8 * 24 * 3_600_000

/** What `projects` of a source says, for a feed. */
export function projectsOf(patterns: readonly string[]): Pick<PushFeed, 'named' | 'allows'> {
  return {
    named: patterns.filter((one) => /^[\w./-]+$/.test(one)),
    allows: compilePatterns(patterns) ?? (() => false),
  }
}
