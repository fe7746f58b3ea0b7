import { StepError } from '../../core/errors.ts'
import type { LayerPlan, WarLayout } from '../../image/layers.ts'
import { type FileTimes, isServedBySpringBoot, setServedTime } from '../../image/war/times.ts'
import type { War } from '../../image/war/war.ts'
import type { Context } from '../context.ts'
import { describeCommit } from '../source/commit.ts'

interface TimeInputs {
  webapp: string
  warLayout: WarLayout
  times: FileTimes
  commit?: string | undefined
}

/** Sets the times of what the image will serve; warns where browsers keep old files all the same. */
export async function setTimes(
  plans: LayerPlan[],
  war: War,
  inputs: TimeInputs,
  context: Context,
): Promise<LayerPlan[]> {
  const { times, warLayout, webapp } = inputs
  if (warLayout === 'exploded' && isServedBySpringBoot(war)) context.log.warn(springBoot(times))
  if (times === 'content') return plans
  return setServedTime(plans, webapp, await commitTime(inputs.commit, context))
}

function springBoot(times: FileTimes): string {
  const rest = 'docs/image.md describes how the application can send some.'
  return times === 'content'
    ? `Spring Boot serves static files without ETags: after a deployment browsers may keep old ones. \`image.times: commit\` helps, but not after a rollback; ${rest}`
    : `Spring Boot serves static files without ETags: after a rollback browsers keep the newer ones; ${rest}`
}

/** In seconds since 1970; the same on every machine, unlike the time of the build. */
async function commitTime(given: string | undefined, context: Context): Promise<number> {
  const commit = given ?? context.actor.commit
  const { committedAt } = await describeCommit(commit, context)
  if (committedAt !== undefined) return Math.floor(Date.parse(committedAt) / 1000)
  const fact = commit === undefined ? 'no commit is named' : `git does not know commit ${commit}`
  throw new StepError('INPUT_INVALID', `served files should have the commit's time, but ${fact}`, {
    hint: 'Name it with `--commit` and bake in its repository, or leave `image.times: commit` out.',
  })
}
