/** What an event can be about. */
export const kinds = [
  'push',
  'tag',
  'merge-request',
  'comment',
  'pipeline',
  'artifact',
  'scan',
  'custom',
] as const
export type EventKind = (typeof kinds)[number]

/** The systems that tell of events. */
export const sourceKinds = ['gitlab', 'github', 'gitea', 'harbor', 'generic'] as const
export type SourceKind = (typeof sourceKinds)[number]

/** What a scan can find, from harmless to worst, in Harbor's words. */
export const severities = [
  'none',
  'unknown',
  'negligible',
  'low',
  'medium',
  'high',
  'critical',
] as const

/**
 * What happened, told alike whoever told it. Every text is from outside: bounded in length, free of
 * control characters, and never to reach a shell.
 */
export interface EventFacts {
  source: SourceKind
  /** Where it came in: `gitlab`, `github`, `gitea`, `harbor`, or the name of a generic source. */
  via: string
  kind: EventKind
  /** `group/project`, `owner/repository`, or Harbor's `project/repository`. */
  project: string
  /** Branch or tag, without `refs/heads/`; of a merge request its source branch; else empty. */
  ref: string
  /** SHA of the commit; else empty. */
  commit: string
  /** Login of who did it; else empty. */
  by: string
  /** One line for people: the commit's first line, the merge request's title. */
  title: string
  /** A page about it, http or https; else empty. */
  url: string
  /** Of a push: what the ref pointed to before, and now; empty where it did not exist. */
  push?: { before: string; after: string } | undefined
  /** Why nothing is to be started although it happened: its commit says [skip ci]. */
  skipped?: string | undefined
  /** Files that changed, for the routes' patterns; undefined: not known, or too many. */
  paths?: string[] | undefined
  /** Of a merge request, or of a comment on one. */
  request?: { number: number } | undefined
  comment?: string | undefined
  /** A pipeline that is over; `event` is the event of ours that started it. */
  pipeline?: { id: number; end: 'succeeded' | 'failed'; event: string } | undefined
  image?: { registry: string; repository: string; digest: string; tag: string } | undefined
  scan?: { state: string; severity: string } | undefined
}

/** The texts of an event that templates may use: `{{commit}}`. */
export function templateFacts(facts: EventFacts, id: string): Record<string, string> {
  const { source, kind, project, ref, commit, by, title, url, image, scan, request } = facts
  return {
    ...{ id, source, kind, project, ref, commit, by, title, url },
    repository: image?.repository ?? '',
    digest: image?.digest ?? '',
    tag: image?.tag ?? '',
    severity: scan?.severity ?? '',
    request: request === undefined ? '' : String(request.number),
  }
}
