import type { Records } from '../queue/records.ts'
import type { RouteSettings, ServerSettings } from '../settings/settings.ts'
import type { EventFacts } from '../sources/event.ts'
import type { Feedback } from './feedback.ts'

/** Tells what became of a pipeline or workflow that an event started: at its end comes an event. */
export function createFollower(
  records: Pick<Records, 'find'>,
  feedback: Feedback,
  settings: ServerSettings,
): (facts: EventFacts) => Promise<void> {
  return async ({ pipeline, via, project, title, url }) => {
    if (!pipeline) return
    const event = await records.find(pipeline.event)
    const route = settings.routes.find(({ name }) => name === event?.route)
    // Only of the project it was started in; anybody may write a variable of this name.
    if (!event || !route || startedIn(route, via, event.facts) !== project) return
    await feedback.tell(event, route, pipeline.end, title, url)
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
