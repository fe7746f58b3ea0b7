import { randomBytes } from 'node:crypto'
import { Minimatch } from 'minimatch'
import type { Wanted } from '../queue/intake.ts'
import type { RouteSettings } from '../settings/settings.ts'
import type { EventFacts } from '../sources/event.ts'
import { sha256Hex } from '../sources/source.ts'

type Test = (text: string) => boolean

/** Whether a text is like one of the patterns: `*` stops at `/`, `**` does not. */
export function compilePatterns(patterns: readonly string[] | undefined): Test | undefined {
  if (patterns === undefined) return undefined
  const compiled = patterns.map(
    (one) => new Minimatch(one, { dot: true, nocomment: true, nonegate: true, noext: true }),
  )
  return (text) => compiled.some((one) => one.match(text))
}

export interface Routes {
  /** The events to be kept for what happened: one for each route that wants it. */
  match(facts: EventFacts, now: number): Wanted[]
}

export function compileRoutes(routes: readonly RouteSettings[]): Routes {
  const compiled = routes.map((route) => ({ route, wants: compileRoute(route) }))
  return {
    match: (facts, now) =>
      compiled
        .filter(({ wants }) => wants(facts))
        .map(({ route }) => ({
          ...{ id: newEventId(now), route: route.name, lane: laneOf(route.name, facts) },
          ...{ queue: route.run === undefined ? 'calls' : 'runs', facts },
          supersede: route.supersede,
        })),
  }
}

function compileRoute(route: RouteSettings): (facts: EventFacts) => boolean {
  const { source, on, comment } = route
  const projects = compilePatterns(route.projects)
  const branches = compilePatterns(route.branches)
  const tags = compilePatterns(route.tags)
  const paths = compilePatterns(route.paths)
  return (facts) => {
    const { kind, image } = facts
    const refs = kind === 'tag' || image ? tags : branches
    const ref = image ? image.tag : facts.ref
    return (
      facts.via === source &&
      on.includes(kind) &&
      (projects?.(facts.project) ?? true) &&
      (refs?.(ref) ?? true) &&
      (kind !== 'comment' || facts.comment?.trim() === comment) &&
      // What is not known to be unchanged counts as changed.
      (paths === undefined || facts.paths === undefined || facts.paths.some(paths))
    )
  }
}

/** Sorts by time of arrival; unguessable, as it is what marks a pipeline as ours. */
function newEventId(now: number): string {
  return `${now.toString(36).padStart(9, '0')}${randomBytes(6).toString('hex')}`
}

/** Of one route, and of one project and branch: what is done in the order it came in. */
function laneOf(route: string, facts: EventFacts): string {
  const { project, ref, kind } = facts
  const what = [route, project, kind === 'tag' ? 'tag' : 'branch', ref]
  return sha256Hex(JSON.stringify(what)).slice(0, 32)
}
