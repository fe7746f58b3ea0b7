import type { Log } from '../../core/log.ts'
import type { Secrets } from '../../core/secrets.ts'
import type { Agents } from '../agents/agents.ts'
import type { Applications } from '../applications/applications.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import type { QueueAccess } from '../queue/access.ts'
import type { Runs } from '../runs/runs.ts'
import type { Audit, Decide, Sees, Sessions } from './access.ts'
import type { FollowerLimits } from './followers.ts'

export interface ApiDependencies {
  sessions: Sessions
  /** May this subject do that: the policy's one answer. */
  decide: Decide
  sees: Sees
  audit: Audit
  runs: Runs
  /** Redis, for events and what servers share. */
  access: QueueAccess
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
  /** Milliseconds that a list waits for an application to be opened; default 10 s. */
  patience?: number | undefined
  log: Log
}
