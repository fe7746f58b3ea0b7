import type { Log } from '../../core/log.ts'
import type { Secrets } from '../../core/secrets.ts'
import type { Agents } from '../agents/agents.ts'
import type { Applications } from '../applications/applications.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import type { Runs } from '../runs/runs.ts'
import type { Audit, Decide, Sessions } from './access.ts'
import type { FollowerLimits } from './followers.ts'

export interface ApiDependencies {
  sessions: Sessions
  /** May this subject do that: the policy's one answer. */
  decide: Decide
  audit: Audit
  runs: Runs
  agents?: Agents | undefined
  applications: Applications
  worker: WorkerEnvironment
  secrets: Pick<Secrets, 'mask'>
  /** Requests a second of one subject. */
  rate: number
  /** Milliseconds between two signs of life of a stream, and checks whether it may go on; default 15 s. */
  heartbeat?: number | undefined
  /** How many streams there may be at once; default: 20 of one subject, 500 in all. */
  followers?: FollowerLimits | undefined
  log: Log
}
