import { parseDigest } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import { withDigest } from '../registry/reference.ts'
import { refuseFilesOnVolumes } from '../target/placing.ts'
import type { DeploymentRequest } from './deployment.ts'
import { formatRelease } from './inputs.ts'
import { openImage, type RemoteImage } from './remote-image.ts'
import { type Rendering, renderFor } from './rendering.ts'
import type { Context } from './step.ts'
import { type Expectation, expectedFiles } from './verification.ts'

/** What will run, read once: what the gate is asked for is what is deployed. */
export interface Content {
  image: RemoteImage
  rendering: Rendering
  expected: Expectation
}

export async function readContent(request: DeploymentRequest, context: Context): Promise<Content> {
  const { release, environment } = request
  const digest = parseDigest(release.digest)
  const image = await openImage(await context.registry(), withDigest(environment.image, digest), {
    what: `${formatRelease(release)} for ${environment.name}:`,
  })
  const [rendering, expected] = await Promise.all([
    renderFor(environment, image, context, request.values),
    expectedFiles(image, context),
  ])
  refuseOtherConfig(request, rendering)
  refuseFilesOnVolumes(rendering.files, environment.container)
  return { image, rendering, expected }
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
