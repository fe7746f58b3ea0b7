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

/** The systems that send events. */
export const sourceKinds = ['gitlab', 'github', 'gitea', 'harbor', 'generic'] as const
export type SourceKind = (typeof sourceKinds)[number]

/** Severities of a scan, in Harbor's words, the worst last. */
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
 * What happened, in the same form for every source. Every text is from outside: bounded in length,
 * without control characters, and never for a shell.
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
  /** Why it starts nothing: its commit has [skip ci]. */
  skipped?: string | undefined
  /** Changed files, for the patterns of routes; undefined when they are unknown or too many. */
  paths?: string[] | undefined
  /** Of a merge request, or of a comment on one. */
  request?: { number: number } | undefined
  comment?: string | undefined
  /** A finished pipeline; `event` is the id of the event that started it, if any. */
  pipeline?: { id: number; end: 'succeeded' | 'failed'; event: string } | undefined
  image?: { registry: string; repository: string; digest: string; tag: string } | undefined
  scan?: { state: string; severity: string } | undefined
}

/** `push of team/webapi main by li` */
export function describeFacts({ kind, project, ref, by }: EventFacts): string {
  return `${kind} of ${project}${ref && ` ${ref}`}${by && ` by ${by}`}`
}

/** The texts of an event that templates may use: `{{commit}}`. */
export function templateFacts(facts: EventFacts, id: string): Record<string, string> {
  const { source, kind, project, ref, commit, by, title, url, image, scan, request } = facts
  return {
    id,
    source,
    kind,
    project,
    ref,
    commit,
    by,
    title,
    url,
    repository: image?.repository ?? '',
    digest: image?.digest ?? '',
    tag: image?.tag ?? '',
    severity: scan?.severity ?? '',
    request: request === undefined ? '' : String(request.number),
  }
}
