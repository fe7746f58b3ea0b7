import { changedKeys } from '../../config/rules/revision.ts'
import { explain, isStepError, StepError } from '../../core/errors.ts'
import { oneLine } from '../../gate/facts.ts'
import type { Release } from '../../ledger/ledger.ts'
import { withDigest } from '../../registry/reference.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { Context } from '../context.ts'
import { openImage, type RemoteImage } from '../image/remote-image.ts'
import { formatRelease } from '../release-name.ts'
import { type Rendering, renderFor } from './rendering.ts'

/** The config that a release would get in an environment now, as a deployment renders it. */
export async function renderRelease(
  release: Release,
  environment: EnvironmentSettings,
  context: Context,
): Promise<Rendering> {
  return renderFor(environment, await openAnywhere(release, environment, context), context)
}

/** Before its promotion the image is in an earlier environment's repository: the same, by its digest. */
async function openAnywhere(
  release: Release,
  environment: EnvironmentSettings,
  context: Context,
): Promise<RemoteImage> {
  try {
    return await openImage(
      await context.registry(),
      withDigest(environment.image, release.digest),
      { what: `${formatRelease(release)} for ${environment.name}:` },
    )
  } catch (error) {
    if (environment.from === undefined || !isStepError(error, 'NOT_FOUND')) throw error
    const before = await context.environment(environment.from)
    return await openAnywhere(release, before, context).catch(() => {
      throw error
    })
  }
}

/** The same context for rendering twice: only the deployment logs the warnings. */
export function withoutWarnings(context: Context): Context {
  const { log } = context
  return { ...context, log: { ...log, warn: log.debug } }
}

/** What is approved beside the image. */
interface SeenConfig {
  revision: string
  /** What runs there, and how the config differs from its: keys alone. */
  since: { release: string; changes: string[] } | undefined
}

/** A config that cannot be rendered cannot be approved. */
export async function seeConfig(
  release: Release,
  environment: EnvironmentSettings,
  context: Context,
): Promise<SeenConfig> {
  const { name } = environment
  try {
    const { revision, description } = await renderRelease(release, environment, context)
    return { revision, since: await changesSince(release.app, name, description, context) }
  } catch (error) {
    if (isStepError(error, 'CANCELLED')) throw error
    const { code, message, hint, retryable } = explain(
      `the config of ${name} cannot be looked at, and nothing is approved unseen`,
      error,
    )
    const repair = `This job needs what a deployment to ${name} reads: the registry and the config centre. With \`config: follow\` in its gate, approvals are of the image alone.`
    throw new StepError(code, message, {
      hint: hint === undefined ? repair : `${hint} ${repair}`,
      retryable,
      cause: error,
    })
  }
}

async function changesSince(
  app: string,
  environment: string,
  now: string,
  context: Context,
): Promise<SeenConfig['since']> {
  const ledger = await context.ledger()
  const current = await ledger.currentDeployment(app, environment)
  if (current === undefined) return undefined
  const then = await ledger.findConfigRevision(current.configRevision)
  if (then === undefined) return undefined
  const { added, removed, changed, unknown } = changedKeys(then, now)
  const lines = (what: string, keys: readonly string[]) =>
    keys.map((key) => `${what} ${oneLine(key)}`)
  return {
    release: formatRelease(current),
    changes: [
      ...lines('changed', changed),
      ...lines('added', added),
      ...lines('removed', removed),
      ...lines('may have changed', unknown),
    ],
  }
}
