import type { EventFacts } from '../event.ts'
import type { EventStore } from '../queue/events.ts'
import type { ServerSettings } from '../settings.ts'
import type { Feedback, Occasion } from './feedback.ts'

const ends: Readonly<Record<string, Occasion>> = {
  ...{ success: 'succeeded', failed: 'failed', canceled: 'failed' },
}

/** Tells what became of a pipeline that an event started: GitLab sends an event at its end. */
export function createFollower(
  store: EventStore,
  feedback: Feedback,
  settings: ServerSettings,
): (facts: EventFacts) => Promise<void> {
  return async ({ pipeline, project, title, url }) => {
    const occasion = pipeline && ends[pipeline.state]
    if (!occasion) return
    const event = await store.find(pipeline.event)
    const route = settings.routes.find(({ name }) => name === event?.route)
    // Only of the project it was started in; anybody may write a variable of this name.
    const started = route?.pipeline && (route.pipeline.project ?? event?.facts.project)
    if (!event || !route || started !== project) return
    await feedback.tell(event, route, occasion, title, url)
  }
}
