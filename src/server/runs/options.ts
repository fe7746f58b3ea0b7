import type { Log } from '../../core/log.ts'
import type { Agents } from '../agents/agents.ts'
import type { Applications } from '../applications/applications.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import type { QueueAccess } from '../queue/access.ts'
import type { Intake } from '../queue/intake.ts'
import type { Records } from '../queue/records.ts'
import type { WakeUps } from '../queue/wake-ups.ts'

export interface RunsOptions {
  access: QueueAccess
  intake: Intake
  records: Records
  wakeUps: WakeUps
  applications: Applications
  worker: WorkerEnvironment
  agents?: Agents | undefined
  urlOf(run: string): string
  log: Log
}
