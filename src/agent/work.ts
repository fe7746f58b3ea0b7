import type { Lease } from '../api/agents.ts'
import type { Finished } from '../api/runs.ts'
import { StepError, toStepError } from '../core/errors.ts'
import type { Policy } from '../policy/compile.ts'
import type { Applications } from '../server/applications/applications.ts'
import type { CommandEnd } from '../server/effects/command.ts'
import type { WorkerEnvironment } from '../server/effects/worker-environment.ts'
import { attemptRun, errorOf, finishedOf } from '../server/runs/effect.ts'
import { note } from '../server/runs/lines.ts'
import { makePlan } from '../server/runs/planner.ts'
import type { RunRecord } from '../server/runs/run.ts'
import type { Issuers } from '../server/sessions/issuers.ts'
import { readLease, requireGrants, verifyAsker } from './check.ts'
import { type Connection, openReporter, type Reporter } from './reporter.ts'

export interface AgentWork extends Connection {
  applications: Applications
  worker: WorkerEnvironment
  issuers: Issuers
  policy: Policy
  urlOf(run: string): string
}

/** Longer than a rollout with pauses takes. */
const RUN_TIMEOUT = 6 * 3_600_000

/** Carries out what was leased. `stop` fires when this agent has no more time. */
export async function workOn(lease: Lease, stop: AbortSignal, agent: AgentWork): Promise<void> {
  const { log } = agent
  const { run, step, app, environment, by, kind, again } = lease
  log.info(
    `${run}: ${kind === 'plan' ? 'plan of ' : ''}${step} of ${app} in ${environment} for ${by}`,
  )
  const reporter = openReporter(lease, agent)
  if (again) reporter.add(note('the agent that ran this is gone; another one goes on with it'))
  try {
    const finished = await perform(lease, stop, reporter, agent)
    if (finished === undefined) {
      log.warn(`${run}: given back, as this agent stops`)
      return await reporter.release()
    }
    await reporter.finish(finished)
    log.info(`${run}: ${finished.outcome}${finished.error ? `: ${finished.error.message}` : ''}`)
  } catch (error) {
    log.warn(`${run}: ${toStepError(error).message}`)
  } finally {
    reporter.close()
  }
}

/** Undefined: another agent goes on with it. */
async function perform(
  lease: Lease,
  stop: AbortSignal,
  reporter: Reporter,
  agent: AgentWork,
): Promise<Finished | undefined> {
  const signal = AbortSignal.any([stop, reporter.signal])
  try {
    return finishedOf(await carryOut(lease, signal, reporter, agent), agent)
  } catch (thrown) {
    const error = toStepError(thrown)
    if (reporter.isLost()) throw error
    const cancel = reporter.cancelled()
    if (stop.aborted && !cancel) return undefined
    const isCancelled = cancel !== undefined && error.code === 'CANCELLED'
    const known = isCancelled
      ? new StepError('CANCELLED', `${cancel.by} cancelled it: ${cancel.reason}`)
      : error
    const outcome = isCancelled ? 'cancelled' : 'failed'
    return { outcome, outputs: null, error: errorOf(known, agent), exitCode: known.exitCode }
  }
}

/** Everything is checked here once more: the server may be anybody's by now. */
async function carryOut(
  lease: Lease,
  signal: AbortSignal,
  reporter: Reporter,
  { applications, issuers, policy, worker, urlOf, log }: AgentWork,
): Promise<CommandEnd> {
  const request = readLease(lease)
  const subject = await verifyAsker(lease, issuers)
  const application = await applications.open(request.app, signal)
  const rules = requireGrants(request, subject, policy, application)
  log.info(`${lease.run}: ${subject.name} may, by ${rules.join(' and ')}`)
  const { run: id, kind, planHash, again } = lease
  if (kind === 'plan') {
    const plan = { request, subject, application, worker, url: urlOf('plan'), signal }
    return { output: { ...(await makePlan(plan)) }, failure: undefined, exitCode: 0 }
  }
  const now = Date.now()
  const record: RunRecord = {
    ...{
      ...request,
      id,
      subject,
      credential: { kind: 'session', id: '' },
      planHash: planHash ?? undefined,
      queuedAt: now,
    },
    ...{ startedAt: again ? now : undefined, finishedAt: undefined, finished: undefined },
    cancel: undefined,
  }
  return attemptRun(
    record,
    {
      attempt: { again, confirm: reporter.confirm },
      store: { findCancel: async () => reporter.cancelled(), start: reporter.start },
      signal,
      lines: reporter,
    },
    {
      ...{ applications: { open: async () => application }, worker, urlOf },
      // Making the plan once more may have taken longer than the token lives.
      async permission() {
        await verifyAsker(lease, issuers)
      },
      timeout: RUN_TIMEOUT,
    },
  )
}
