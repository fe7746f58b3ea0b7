import type { OpenContext } from '../context.ts'
import { parseDigest } from '../core/digest.ts'
import { openImage, requireLabel } from '../delivery/image/remote-image.ts'
import { parseRelease } from '../delivery/release-name.ts'
import { formatReference, withDigest, withTag } from '../registry/reference.ts'
import { callStep } from '../steps/inputs.ts'
import { promote } from '../steps/promote.ts'
import { release } from '../steps/release.ts'
import { renderConfig } from '../steps/render-config.ts'
import { retagImage } from '../steps/retag-image.ts'

/** What the release is in one environment. */
export interface EnvironmentResult {
  name: string
  version: string
  digest: string
  warMd5: string
  /** Whether every file was compared inside the running container. */
  verified: boolean
  configRevision: string
  containerId: string | undefined
  url: string | undefined
}

/** Releases to the first environment and promotes to the others; without an engine, images and config only. */
export async function runPipeline(
  [first = '', ...others]: string[],
  engine: boolean,
  context: OpenContext,
): Promise<EnvironmentResult[]> {
  const { log } = context
  const released = await log.section(`Releasing to ${first}`, () =>
    callStep(release, { env: first, reason: 'demo', deploy: engine }, context),
  )
  const name = released.release
  const results = [await inspect(first, name, released, context)]
  for (const to of others) {
    await log.section(`Promoting ${name} to ${to}`, async () => {
      const promoted: Outcome = engine
        ? await callStep(promote, { release: name, to, reason: 'demo' }, context)
        : await copyOnly(name, released.image, to, context)
      results.push(await inspect(to, name, promoted, context))
    })
  }
  return results
}

interface Outcome {
  digest: string
  verified: boolean
  configRevision?: string | undefined
  url?: string | undefined
}

async function copyOnly(
  name: string,
  image: string,
  to: string,
  context: OpenContext,
): Promise<Outcome> {
  const { image: repository } = await context.environment(to)
  const target = formatReference(withTag(repository, parseRelease(name).version))
  const { digest } = await callStep(retagImage, { image, to: target }, context)
  return { digest, verified: false }
}

/** Looks at what an environment has now; nothing is taken over from the environment before. */
async function inspect(
  name: string,
  releaseName: string,
  outcome: Outcome,
  context: OpenContext,
): Promise<EnvironmentResult> {
  const { digest, verified, url } = outcome
  const { image: repository } = await context.environment(name)
  const reference = withDigest(repository, parseDigest(digest))
  const image = await openImage(await context.registry(), reference, { what: `image of ${name}` })
  const deployments = verified ? await (await context.ledger()).current() : []
  const deployment = deployments.find(({ environment }) => environment === name)
  const configRevision = outcome.configRevision ?? (await checkConfig(name, releaseName, context))
  if (verified && url) await showPage(name, url, context)
  return {
    name,
    version: parseRelease(releaseName).version,
    digest: image.manifest.digest,
    warMd5: requireLabel(image, 'warMd5'),
    verified,
    configRevision,
    containerId: deployment?.hosts[0]?.containerId,
    url,
  }
}

async function checkConfig(env: string, name: string, context: OpenContext): Promise<string> {
  const { configRevision } = await callStep(
    renderConfig,
    { env, release: name, check: true },
    context,
  )
  return configRevision
}

/** What a visitor would see: the values that came from this environment's config centre. */
async function showPage(environment: string, url: string, { log, signal }: OpenContext) {
  const response = await fetch(new URL('/info', url), { signal })
  log.info(`${environment} answers at ${url}: ${(await response.text()).trim()}`)
}
