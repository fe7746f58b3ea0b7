import type { OpenContext } from '../../context.ts'
import type { Ledger } from '../../ledger/ledger.ts'
import type { Settings } from '../../settings.ts'
import { contextOf } from '../applications/applications.ts'
import type { ApiDependencies } from './dependencies.ts'

/** What the branch that counts says, and its ledger: only for reading. */
export interface Readable {
  commit: string
  settings: Settings
  ledger(): Promise<Ledger>
}

export interface Reader {
  open(app: string): Promise<Readable>
  close(): Promise<void>
}

interface Kept {
  file: string
  context: OpenContext
  used: number
}

/** How old what is read may be, and how long a connection to a ledger is kept unused. */
const AGE = 15_000
const IDLE = 5 * 60_000
const TIMEOUT = 60_000

/** One context for each application: a ledger is not opened anew for every request. */
export function openReader({
  applications,
  worker,
}: Pick<ApiDependencies, 'applications' | 'worker'>): Reader {
  const kept = new Map<string, Kept>()
  const closing = new AbortController()
  const drop = (app: string) => {
    const found = kept.get(app)
    kept.delete(app)
    return found?.context.close()
  }
  const timer = setInterval(() => {
    for (const [app, { used }] of kept) {
      if (Date.now() - used > IDLE) drop(app)?.catch(() => {})
    }
  }, IDLE / 5)
  timer.unref()
  return {
    async open(app) {
      const opened = await applications.open(app, AbortSignal.timeout(TIMEOUT), AGE)
      const known = kept.get(app)
      // Requests that still read with the old one have their answers before the pause is over.
      if (known && known.file !== opened.file) {
        kept.delete(app)
        setTimeout(() => known.context.close().catch(() => {}), TIMEOUT).unref()
      }
      const current =
        kept.get(app) ??
        ({ file: opened.file, context: contextOf(opened, worker, closing.signal), used: 0 } as Kept)
      current.used = Date.now()
      kept.set(app, current)
      return { commit: opened.commit, settings: opened.settings, ledger: current.context.ledger }
    },
    async close() {
      clearInterval(timer)
      await Promise.all([...kept.keys()].map(drop))
      closing.abort()
    },
  }
}
