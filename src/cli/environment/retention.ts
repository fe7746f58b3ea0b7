import type { Command } from 'commander'
import { shortDigest } from '../../core/digest.ts'
import { StepError } from '../../core/errors.ts'
import type { Context } from '../../delivery/context.ts'
import { guardChange, recordAct } from '../../delivery/gate/guard.ts'
import { formatRelease } from '../../delivery/release-name.ts'
import { applyRetention, planRetention, type RetentionPlan } from '../../delivery/retention.ts'
import { formatRepository } from '../../registry/reference.ts'
import { FEWEST_IMAGES, MOST_IMAGES } from '../../targets/prune-settings.ts'
import { addExample, type Perform } from '../command.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { agree } from '../terminal.ts'

interface RetentionOptions {
  env?: string
  keep: string
  dryRun?: boolean
  reason?: string
  yes?: boolean
}

/** `crosscloud retention`: images that nobody needs any more. */
export function addRetention(
  program: Command,
  perform: Perform,
  { person }: Pick<ProcessEnvironment, 'person'>,
): void {
  const command = program
    .command('retention')
    .description('Remove images that run nowhere and that nobody would go back to.')
    .option('--env <name>', 'only the repository of this environment')
    .option(
      '--keep <number>',
      'how many stay: of the newest, and of the last deployed to each environment',
      '10',
    )
    .option('--dry-run', 'show them; remove nothing')
    .option('--reason <text>', 'why; needed where a gate stands')
    .option('--yes', 'do not ask')
  addExample(command, 'retention --env test --keep 20 --dry-run')
  command.action(async ({ env, keep, dryRun, reason, yes = false }: RetentionOptions) => {
    await perform(command, async (context) => {
      const plans = await planRetention(readKeep(keep), env, context)
      const lines = plans.flatMap(planLines)
      const json = { repositories: plans.map(toJson) }
      const count = plans.reduce((sum, { remove }) => sum + remove.length, 0)
      if (dryRun || count === 0) {
        return {
          json,
          text: [...lines, count === 0 ? 'Nothing to remove.' : `${count} to remove.`].join('\n'),
        }
      }
      for (const line of lines) context.log.info(line)
      const acts = await guardRepositories(plans, reason, context)
      await agree(person, `Remove ${count} ${count === 1 ? 'image' : 'images'} for good?`, yes)
      for (const record of acts) await record()
      let removed = 0
      for (const plan of plans) removed += await applyRetention(plan, context)
      return { json: { ...json, removed }, text: `${removed} removed.` }
    })
  })
}

/** Images of an environment with a gate are its way back: who removes them is known, and written down. */
async function guardRepositories(
  plans: readonly RetentionPlan[],
  reason: string | undefined,
  context: Context,
): Promise<(() => Promise<void>)[]> {
  const acts = []
  for (const { environments, remove } of plans.filter((plan) => plan.remove.length > 0)) {
    for (const name of environments) {
      const environment = await context.environment(name)
      if (environment.gate === undefined) continue
      const change = { environment, action: 'retention', reason, waitsForFreeze: false }
      const who = await guardChange(change, context)
      const subject = remove.map(formatRelease).join(', ')
      acts.push(() => recordAct('retention', { environment: name, subject, reason }, who, context))
    }
  }
  return acts
}

export function readKeep(text: string): number {
  const keep = Number(text)
  if (Number.isInteger(keep) && keep >= FEWEST_IMAGES && keep <= MOST_IMAGES) return keep
  throw new StepError(
    'INPUT_INVALID',
    `--keep ${text} is not a number from ${FEWEST_IMAGES} to ${MOST_IMAGES}`,
  )
}

function planLines({ repository, environments, remove, kept }: RetentionPlan): string[] {
  const where = `${formatRepository(repository)} (${environments.join(', ')})`
  return [
    `${where}: ${kept} stay, ${remove.length} go`,
    ...remove.map((release) => `  - ${formatRelease(release)} ${shortDigest(release.digest)}`),
  ]
}

function toJson({ repository, environments, remove, kept }: RetentionPlan) {
  const gone = remove.map((release) => ({
    release: formatRelease(release),
    digest: release.digest,
  }))
  return { repository: formatRepository(repository), environments, kept, remove: gone }
}
