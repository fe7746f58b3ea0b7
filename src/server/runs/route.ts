import { type RouteSettings, route } from '../settings/route.ts'
import type { ServerSettings } from '../settings/settings.ts'

/** The reserved route of runs: no name of a route has a colon. */
export const RUN_ROUTE = 'api:run'

/** A run whose failure is known is over: only what has no outcome is tried again. */
export const runRoute: RouteSettings = {
  ...route.parse({ name: 'run', source: 'api', notify: ['none'] }),
  name: RUN_ROUTE,
  notify: [],
}

/** Where a run is seen, for the ledger: an attempt after a crash finds its deployment by it. */
export function runUrls({
  listen: { host, port, tls },
  sessions,
}: Pick<ServerSettings, 'listen' | 'sessions'>) {
  const server = sessions?.url ?? `${tls ? 'https' : 'http'}://${host}:${port}`
  return (run: string): string => `${server}/api/v1/runs/${run}`
}
