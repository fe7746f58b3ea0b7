import { toStepError } from '../../core/errors.ts'
import type { Who } from '../../identity/who.ts'
import type { Deployment } from '../../ledger/ledger.ts'
import type { RolloutCommands } from '../../targets/target.ts'
import type { Context } from '../context.ts'
import { recordAct } from '../gate/guard.ts'
import { type DeploymentRequest, isNew } from './request.ts'

/**
 * What a deployment runs once. A rollback restores what ran, so it runs none; nor does what brings hosts
 * to the release that runs. Where a deployment that failed on some hosts is brought to the others,
 * `before` has run for it, and `after` has not.
 */
export function argvOf(
  request: DeploymentRequest,
): Pick<RolloutCommands, 'before' | 'after'> | undefined {
  if (!isNew(request)) return undefined
  const { before, after } = request.environment.rollout.commands
  return { before: request.finishes ? undefined : before, after }
}

/** The commands that a deployment runs, and their record in the ledger. */
export function commandsOf(
  request: DeploymentRequest,
  { id, environment }: Pick<Deployment, 'id' | 'environment'>,
  who: Who,
  context: Context,
): RolloutCommands | undefined {
  const argv = argvOf(request)
  if (argv === undefined) return undefined
  const { timeout } = request.environment.rollout.commands
  const { mask } = context.secrets
  const record = (reason: string) =>
    recordAct('command', { environment, subject: id, reason: mask(reason) }, who, context)
  return {
    ...argv,
    timeout,
    mask,
    onStart: (which, host) =>
      record(`${which} started on ${host}: ${(argv[which] ?? []).join(' ')}`),
    onEnd: async (which, { duration, lines }) => {
      const end = `${which} succeeded after ${Math.round(duration / 100) / 10} s`
      // What it did is done, and its start is recorded.
      await record([end, ...lines].join('\n')).catch((error: unknown) => {
        const { message } = toStepError(error)
        context.log.warn(`the ledger could not record that ${end} for ${id}: ${message}`)
      })
    },
  }
}
