import { compilePatterns } from '../settings/patterns.ts'

/** A push in the history of its server, delivered or not. */
export interface PushRecord {
  /** Increases with each push. */
  id: number
  /** Milliseconds since 1970. */
  at: number
  kind: 'push' | 'tag'
  ref: string
  /** The commit of the ref before; empty when the push created it. */
  before: string
  /** The commit of the ref now; empty when the push deleted it. */
  after: string
  /** Login of the author of the push. */
  by: string
}

/** Facts of an event that are read from its commit. */
export interface CommitFacts {
  /** SHA of the commit, also where the ref points to a tag object. */
  commit: string
  title: string
  skipped?: string | undefined
  url: string
}

/** The history of pushes on a server. */
export interface PushFeed {
  source: 'gitlab' | 'github'
  /** Projects that are read even when they never delivered a push. */
  named: readonly string[]
  /** Whether the settings allow this project. */
  allows(project: string): boolean
  /** Newest first. */
  read(project: string, signal: AbortSignal): AsyncIterable<PushRecord>
  /** NOT_FOUND when the commit is gone. */
  describe(project: string, sha: string, signal: AbortSignal): Promise<CommitFacts>
  /** Enables webhooks that the server has stopped, and gives their number. */
  wake?(project: string, signal: AbortSignal): Promise<number>
}

/** How far back a feed is read. */
export const LOOK_BACK = 8 * 24 * 3_600_000

/** The setting `projects` of a source, for a feed. */
export function projectsOf(patterns: readonly string[]): Pick<PushFeed, 'named' | 'allows'> {
  return {
    named: patterns.filter((text) => /^[\w./-]+$/.test(text)),
    allows: compilePatterns(patterns) ?? (() => false),
  }
}
