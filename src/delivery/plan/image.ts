import { isStepError } from '../../core/errors.ts'
import { refuseTaken } from '../../registry/copy.ts'
import {
  formatReference,
  imageByDigest,
  sameRepository,
  withDigest,
  withTag,
} from '../../registry/reference.ts'
import { openThere, readContent } from '../deployment/content.ts'
import { openImage, type RemoteImage } from '../image/remote-image.ts'
import { formatRelease } from '../release-name.ts'
import { sizeOf } from './hosts.ts'
import type { Obstacles } from './obstacles.ts'
import type { PlanRequest } from './request.ts'
import type { Plan } from './schema.ts'

/** Reads what would run. A promotion brings the image first: until then it is where it comes from. */
export function readPlanned({ source }: PlanRequest): typeof readContent {
  if (source === undefined) return readContent
  return (request, context, attempt) =>
    readContent(request, context, attempt, async () => {
      try {
        return await openThere(request, context)
      } catch (error) {
        if (!isStepError(error, 'NOT_FOUND')) throw error
        const reference = withDigest(source.image, request.release.digest)
        const what = `${formatRelease(request.release)} from ${source.name}:`
        return await openImage(await context.registry(), reference, { what })
      }
    })
}

/** What is pulled, and what a promotion must bring before. */
export async function planImage(
  { release, environment, source }: PlanRequest,
  image: RemoteImage,
  { attempt, context }: Obstacles,
): Promise<Plan['image']> {
  const { layers } = image.content
  const common = {
    reference: imageByDigest(environment.image, release.digest),
    layers: layers.length,
    bytes: sizeOf(layers),
  }
  if (source === undefined) return { ...common, copy: null }
  const tagged = withTag(environment.image, release.version)
  const registry = await context.registry()
  await attempt('image', async () =>
    refuseTaken(tagged, await registry.resolve(tagged), release.digest),
  )
  if (sameRepository(image.reference, environment.image)) return { ...common, copy: null }
  const mounted = source.image.registry === environment.image.registry
  const copy = { from: formatReference(image.reference), to: formatReference(tagged), mounted }
  return { ...common, copy }
}
