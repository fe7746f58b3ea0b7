import { randomBytes } from 'node:crypto'
import type { RequestedEvent } from '../queue/intake.ts'
import { compilePatterns } from '../settings/patterns.ts'
import type { RouteSettings } from '../settings/route.ts'
import type { EventFacts } from '../sources/event.ts'
import { sha256Hex } from '../sources/source.ts'

export interface Routes {
  /** The events to store: one for each route that wants these facts. */
  match(facts: EventFacts, now: number): RequestedEvent[]
}

export function compileRoutes(routes: readonly RouteSettings[]): Routes {
  const compiled = routes.map((route) => ({ route, wants: compileRoute(route) }))
  return {
    match: (facts, now) =>
      compiled
        .filter(({ wants }) => wants(facts))
        .map(({ route: { name, run, supersede } }) => ({
          id: newEventId(now),
          route: name,
          partition: partitionOf(name, facts),
          queue: run === undefined ? 'calls' : 'runs',
          supersede,
          facts,
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
      // Files count as changed when it is unknown which ones are.
      (paths === undefined || facts.paths === undefined || facts.paths.some(paths))
    )
  }
}

/** Sorts by time of arrival. It cannot be guessed, as it proves that a pipeline is ours. */
export function newEventId(now: number): string {
  return `${now.toString(36).padStart(9, '0')}${randomBytes(6).toString('hex')}`
}

/** Events of one route, project and branch share a partition: they are worked on in order. */
function partitionOf(route: string, facts: EventFacts): string {
  const { project, ref, kind } = facts
  const what = [route, project, kind === 'tag' ? 'tag' : 'branch', ref]
  return sha256Hex(JSON.stringify(what)).slice(0, 32)
}
