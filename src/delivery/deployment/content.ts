import { parseDigest } from '../../core/digest.ts'
import { isStepError, StepError } from '../../core/errors.ts'
import { formatReference, imageByDigest, withDigest, withTag } from '../../registry/reference.ts'
import { type Rendering, renderFor } from '../config/rendering.ts'
import type { Context } from '../context.ts'
import { openImage, type RemoteImage } from '../image/remote-image.ts'
import { formatRelease } from '../release-name.ts'
import { type Expectation, expectedFiles } from '../verification/verification.ts'
import type { Attempt } from './attempt.ts'
import type { DeploymentRequest } from './request.ts'

/** What will run, read once: what the gate admits is what is deployed. */
export interface Content {
  image: RemoteImage
  rendering: Rendering
  expected: Expectation
}

/** Undefined where `attempt` has noted why it cannot be read. */
export async function readContent(
  request: DeploymentRequest,
  context: Context,
  attempt: Attempt,
  open: typeof openThere = openThere,
): Promise<Content | undefined> {
  const image = await attempt('image', () => open(request, context))
  if (image === undefined) return undefined
  const rest = await attempt('config', async () => {
    const [rendering, expected] = await Promise.all([
      renderFor(request.environment, image, context, request.values),
      expectedFiles(image, context),
    ])
    refuseOtherConfig(request, rendering)
    return { rendering, expected }
  })
  return rest && { image, ...rest }
}

export async function openThere(
  { release, environment, breakGlass }: DeploymentRequest,
  context: Context,
): Promise<RemoteImage> {
  const [name, registry] = [formatRelease(release), await context.registry()]
  const image = withDigest(environment.image, parseDigest(release.digest))
  try {
    return await openImage(registry, image, { what: `${name} for ${environment.name}:` })
  } catch (error) {
    if (environment.from === undefined || !isStepError(error, 'NOT_FOUND')) throw error
    const { image: source } = await context.environment(environment.from)
    const to = formatReference(withTag(environment.image, release.version))
    const retag = `crosscloud retag-image --image ${imageByDigest(source, release.digest)} --to ${to}`
    const promote = `crosscloud promote --release ${name} --to ${environment.name}`
    const message = `${name} has not been brought to ${environment.name}: ${formatReference(image)} is not there`
    throw new StepError('NOT_FOUND', message, {
      hint: `\`${breakGlass ? retag : promote}\` brings it there, unchanged.`,
      cause: error,
    })
  }
}

/** Hosts of one environment run with one config. */
function refuseOtherConfig({ release, environment, revision }: DeploymentRequest, now: Rendering) {
  if (revision === undefined || now.revision === revision) return
  throw new StepError(
    'CONFLICT',
    `the config ${revision} of the other hosts comes out as ${now.revision} now: secrets that nobody kept have changed`,
    {
      hint: `Deploy to all hosts: \`crosscloud deploy --release ${formatRelease(release)} --env ${environment.name}\`.`,
    },
  )
}
