import type { Log } from '../../core/log.ts'
import type { Secrets } from '../../core/secrets.ts'
import type { Applications } from '../applications/applications.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import type { Runs } from '../runs/runs.ts'
import type { Audit, Decide, Sessions } from './access.ts'

export interface ApiDependencies {
  sessions: Sessions
  /** May this subject do that: the policy's one answer. */
  decide: Decide
  audit: Audit
  runs: Runs
  applications: Applications
  worker: WorkerEnvironment
  secrets: Pick<Secrets, 'mask'>
  /** Requests a second of one subject. */
  rate: number
  log: Log
}
