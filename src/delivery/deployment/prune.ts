import { toStepError } from '../../core/errors.ts'
import type { Who } from '../../identity/who.ts'
import type { Target } from '../../targets/target.ts'
import type { Context } from '../context.ts'
import { recordAct } from '../gate/guard.ts'
import { findImages, nameOfImage, removeImages } from '../host-images.ts'
import type { HeldLock } from './lock.ts'
import type { DeploymentRequest } from './request.ts'

/**
 * Removes what nobody needs any more from the hosts of a good deployment, where `prune:` asks for it.
 * It never fails: what runs is proven, and the images can be removed later.
 */
export async function pruneAfter(
  { environment, release: { app } }: DeploymentRequest,
  { target, lock, who, deployment }: PruneFacts,
  context: Context,
): Promise<void> {
  const { prune, name } = environment
  if (prune === undefined || target.images === undefined) return
  try {
    const { found } = await findImages({ environment, target, keep: prune.keep }, context)
    const unneeded = found.filter(({ use }) => use === 'none')
    if (unneeded.length === 0) return
    const names = unneeded.map((each) => `${nameOfImage(each, app)} on ${each.host}`)
    const act = { environment: name, subject: names.join(', '), reason: `after ${deployment}` }
    await recordAct('hosts prune', act, who, context)
    await removeImages(unneeded, target.images, context, lock.check)
  } catch (error) {
    const { message } = toStepError(error)
    context.log.warn(`images that nobody needs were not all removed: ${message}`)
  }
}

interface PruneFacts {
  target: Target
  lock: Pick<HeldLock, 'check'>
  who: Who
  /** The id of the deployment. */
  deployment: string
}
