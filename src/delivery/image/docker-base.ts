import type { BuiltImage, EngineImage, ImageBuilder } from '../../builder/builder.ts'
import { imagesOf } from '../../builder/dockerfile.ts'
import type { Digest } from '../../core/digest.ts'
import { describe, isStepError } from '../../core/errors.ts'
import {
  formatReference,
  parseReference,
  type Reference,
  withDigest,
} from '../../registry/reference.ts'
import type { Context } from '../context.ts'
import type { BuildContext } from './docker-context.ts'
import { openImage, type RemoteImage } from './remote-image.ts'

/** What a built image has begun from, as far as it can be known. */
export interface BuildBase {
  digest: Digest
  /** As its registry has it, where that responds: then its blobs need not be sent. */
  remote: RemoteImage | undefined
}

/** The images that a Dockerfile names and that are in a registry. */
export function namedImages({ text, args }: Pick<BuildContext, 'text' | 'args'>): Reference[] {
  return references(imagesOf(text, args))
}

/**
 * The image with the most layers of those the Dockerfile names, whose layers are the lowest of the
 * built image: by the engine's word and by the registry's.
 */
export async function findBuildBase(
  builder: ImageBuilder,
  { from, image, named }: { from: BuiltImage['from']; image: EngineImage; named: Reference[] },
  { architecture }: { architecture: string },
  context: Context,
): Promise<BuildBase | undefined> {
  let best: (BuildBase & { depth: number }) | undefined
  for (const reference of [...references(from), ...named]) {
    const local = await builder.find(engineName(reference))
    if (local && !isBelow(local.layers, image.layers)) continue
    const digest = reference.digest ?? digestOf(local, reference)
    if (digest === undefined) continue
    const found = await open(withDigest(reference, digest), architecture, context)
    const layers = found?.config.rootfs.diff_ids ?? []
    const isBase = found?.content.layers.length === layers.length && isBelow(layers, image.layers)
    const remote = isBase ? found : undefined
    const depth = local?.layers.length ?? (remote ? layers.length : 0)
    if (depth > (best?.depth ?? 0)) best = { digest, remote, depth }
  }
  return best
}

function references(names: readonly string[]): Reference[] {
  return names.flatMap((name) => {
    try {
      return [parseReference(name)]
    } catch {
      return []
    }
  })
}

/** Engines call Docker Hub docker.io. */
export const engineRegistry = ({ registry }: Reference) =>
  registry === 'registry-1.docker.io' ? 'docker.io' : registry

function engineName(reference: Reference): string {
  return formatReference({ ...reference, registry: engineRegistry(reference) })
}

const isBelow = (lower: readonly string[], all: readonly string[]) =>
  lower.every((layer, index) => layer === all[index])

/** How the registry of a reference calls an image that the engine has. */
function digestOf(image: EngineImage | undefined, wanted: Reference): Digest | undefined {
  return references(image?.digests ?? []).find(
    ({ registry, name }) => registry === wanted.registry && name === wanted.name,
  )?.digest
}

/** A base that cannot be read costs time only: its layers are exported and sent then. */
async function open(
  reference: Reference,
  architecture: string,
  context: Context,
): Promise<RemoteImage | undefined> {
  try {
    const registry = await context.registry()
    return await openImage(registry, reference, { what: 'base image', architecture })
  } catch (error) {
    if (isStepError(error, 'CANCELLED')) throw error
    context.log.info(`its layers come from the engine: ${describe(error)}`)
    return undefined
  }
}
