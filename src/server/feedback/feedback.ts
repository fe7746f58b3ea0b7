import type { Cluster, Redis } from 'ioredis'
import type { RouteSettings } from '../settings/route.ts'
import { type EventFacts, templateFacts } from '../sources/event.ts'
import type { StatusState } from './gitlab.ts'
import type { Notice } from './notice.ts'
import { openNotificationQueue, statusSources } from './notification-queue.ts'
import type { Notifier } from './notifier.ts'

/** How far an event has come. */
export type EventProgress = 'running' | 'started' | 'succeeded' | 'failed'

/** Reports progress to commits and receivers, by the notification queue. */
export interface Feedback {
  /** Queues the report; an error of a receiver never becomes an error of the event. */
  report(
    event: { id: string; facts: EventFacts },
    route: RouteSettings,
    progress: EventProgress,
    text: string,
    url?: string | undefined,
  ): Promise<void>
  /** Queues a notice that concerns no route: that of a schedule. */
  notify(receivers: readonly string[], notice: Notice): Promise<void>
  close(): Promise<void>
}

const statusStates: Record<EventProgress, StatusState> = {
  running: 'running',
  started: 'running',
  succeeded: 'success',
  failed: 'failure',
}

export interface FeedbackOptions {
  client: Redis | Cluster
  /** Name of the queue. */
  name: string
  notifiers: Readonly<Record<string, Notifier>>
  /** Removes secrets, which errors of other programs may contain. */
  mask: (text: string) => string
}

export async function openFeedback(options: FeedbackOptions): Promise<Feedback> {
  const { client, name, notifiers, mask } = options
  const queue = await openNotificationQueue(client, name)
  const notify: Feedback['notify'] = async (receivers, { text, ...rest }) => {
    const notice = { ...rest, text: mask(text) }
    const interested = receivers.filter((receiver) => notifiers[receiver]?.wants(notice.what))
    await Promise.all(
      interested.map((receiver) =>
        queue.add(`${notice.id}-${receiver}`, { to: 'notice', receiver, notice }),
      ),
    )
  }
  return {
    notify,
    async report({ id, facts }, route, progress, text, url = '') {
      const { commit, project } = facts
      const source = statusSources.find((known) => known === facts.source)
      if (route.status && commit !== '' && source !== undefined) {
        await queue.add(`${id}-status-${progress}`, {
          to: 'status',
          source,
          status: {
            project,
            commit,
            name: `crosscloud/${route.name}`,
            state: statusStates[progress],
            text: mask(text),
            url,
          },
        })
      }
      if (progress === 'running') return
      await notify(route.notify, {
        id: `${id}-${progress}`,
        what: progress,
        route: route.name,
        text,
        url,
        facts: templateFacts(facts, id),
      })
    },
    close: queue.close,
  }
}
