import type { Registry } from 'prom-client'
import type { Records } from '../queue/records.ts'

/** Outcomes of a delivery. */
export type DeliveryOutcome =
  | 'accepted'
  | 'recovered'
  | 'duplicate'
  | 'ignored'
  | 'missing'
  | 'wrong'
  | 'stale'
  | 'forbidden'
  | 'invalid'
  | 'too-long'
  | 'too-often'
  | 'unavailable'

/** Metrics for Prometheus. Labels are names from the settings, never texts from outside. */
export interface Metrics {
  delivery(source: string, outcome: DeliveryOutcome): void
  /** An event that ended, or is tried again. */
  event(route: string, end: 'done' | 'dead' | 'retried' | 'superseded', seconds?: number): void
  feedback(receiver: string, end: 'sent' | 'failed'): void
  schedule(name: string, end: 'done' | 'failed'): void
  text(): Promise<string>
  contentType: string
}

export async function createMetrics(records: Pick<Records, 'count' | 'oldest'>): Promise<Metrics> {
  const { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } = await import('prom-client')
  const registry: Registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const counter = <T extends string>(name: string, help: string, labelNames: readonly T[]) =>
    new Counter({ name: `crosscloud_${name}`, help, labelNames, registers })
  const deliveries = counter('deliveries_total', 'Deliveries by what became of them', [
    'source',
    'outcome',
  ])
  const events = counter('events_total', 'Events that are over, and tries that failed', [
    'route',
    'end',
  ])
  const feedback = counter('feedback_total', 'Statuses and notifications', ['receiver', 'end'])
  const schedules = counter('schedules_total', 'Scheduled work', ['name', 'end'])
  const effects = new Histogram({
    name: 'crosscloud_effect_seconds',
    help: 'How long it took to do what a route asks for',
    labelNames: ['route'],
    buckets: [0.1, 0.3, 1, 3, 10, 30, 120, 600, 1800],
    registers,
  })
  new Gauge({
    name: 'crosscloud_events',
    help: 'Events that wait, are worked on, or need a person',
    labelNames: ['state'],
    registers,
    async collect() {
      this.reset()
      // Without Redis nothing is known; crosscloud_redis_up shows that.
      for (const state of ['waiting', 'running', 'dead'] as const) {
        const count = await records.count(state).catch(() => undefined)
        if (count !== undefined) this.set({ state }, count)
      }
    },
  })
  new Gauge({
    name: 'crosscloud_redis_up',
    help: 'Whether Redis answers',
    registers,
    async collect() {
      const up = await records.count('dead').then(
        () => 1,
        () => 0,
      )
      this.set(up)
    },
  })
  new Gauge({
    name: 'crosscloud_oldest_waiting_seconds',
    help: 'For how long the oldest event waits',
    registers,
    async collect() {
      this.remove()
      const since = await records.oldest().then(
        (oldest) => oldest ?? Date.now(),
        () => undefined,
      )
      if (since !== undefined) this.set(Math.max(0, (Date.now() - since) / 1000))
    },
  })
  return {
    delivery: (source, outcome) => deliveries.inc({ source, outcome }),
    event(route, end, seconds) {
      events.inc({ route, end })
      if (seconds !== undefined) effects.observe({ route }, seconds)
    },
    feedback: (receiver, end) => feedback.inc({ receiver, end }),
    schedule: (name, end) => schedules.inc({ name, end }),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
