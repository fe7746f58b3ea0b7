import type { Records } from '../queue/records.ts'
import type { RouteSettings } from '../settings/route.ts'
import type { EventFacts } from '../sources/event.ts'
import type { Feedback } from './feedback.ts'

/** Reports the end of a pipeline or workflow that an event started, when its source sends it. */
export function createFollower(
  records: Pick<Records, 'find'>,
  feedback: Feedback,
  routes: readonly RouteSettings[],
): (facts: EventFacts) => Promise<void> {
  return async ({ pipeline, via, project, title, url }) => {
    if (!pipeline) return
    const event = await records.find(pipeline.event)
    const route = routes.find(({ name }) => name === event?.route)
    // Anybody may write a variable of this name: only the project it was started in counts.
    if (!event || !route || startedIn(route, via, event.facts) !== project) return
    await feedback.report(event, route, pipeline.end, title, url)
  }
}

function startedIn(
  { pipeline, workflow }: RouteSettings,
  via: string,
  { project }: EventFacts,
): string | undefined {
  if (via === 'gitlab') return pipeline && (pipeline.project ?? project)
  if (via !== 'github' && via !== 'gitea') return undefined
  return workflow && (workflow.repository ?? project)
}
