import { StepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import { formatRelease } from '../../delivery/release-name.ts'
import type { Deployment } from '../../ledger/ledger.ts'
import { contextOf, type OpenedApplication } from '../applications/applications.ts'
import type { CommandEnd } from '../effects/command.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import type { RunRecord } from './run.ts'
import { changesEnvironment } from './steps.ts'

const RECENT = 50
const PAUSE = 1000
/** A command that lost its server restores what it began. */
const LONGEST_END = 10 * 60_000
/** Of a deployment that ended because its server did, by src/cli/main.ts and core/process/signals.ts. */
const CUT_OFF = /the process that started this one ended|stopped by SIG(?:TERM|INT)|cancelled/

/**
 * What an earlier attempt of this run did, by the ledger: its server died before the outcome was kept.
 * Undefined when the step must run (again).
 */
export async function findEarlier(
  run: Pick<RunRecord, 'id' | 'app' | 'environment' | 'step'>,
  application: OpenedApplication,
  worker: WorkerEnvironment,
  signal: AbortSignal,
): Promise<CommandEnd | undefined> {
  if (!changesEnvironment(run.step)) return undefined
  const { app, environment } = run
  const context = contextOf(application, worker, signal)
  try {
    const ledger = await context.ledger()
    const end = Date.now() + LONGEST_END
    for (;;) {
      const recent = await ledger.deployments({ app, environment, limit: RECENT })
      const found = recent.find(({ jobUrl }) => jobUrl?.endsWith(`/runs/${run.id}`))
      if (found?.state === 'running' && Date.now() < end) {
        await wait(PAUSE, signal)
        continue
      }
      if (found === undefined) return undefined
      const release = await ledger.findRelease(app, found.version)
      return endOf(found, release?.warMd5)
    }
  } finally {
    await context.close()
  }
}

function endOf(deployment: Deployment, warMd5: string | undefined): CommandEnd | undefined {
  const { state, error = '', environment, digest, configRevision, id, verified } = deployment
  if (state === 'succeeded') {
    const release = formatRelease(deployment)
    const output = { release, environment, digest, warMd5, configRevision, verified }
    return { output: { ...output, deployment: id }, failure: undefined, exitCode: 0 }
  }
  if (state !== 'failed' || CUT_OFF.test(error)) return undefined
  const failure = new StepError('COMMAND_FAILED', error || `deployment ${id} failed`)
  return { output: undefined, failure, exitCode: failure.exitCode }
}
