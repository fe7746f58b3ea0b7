import type { ImageBuilder } from '../../builder/builder.ts'
import { StepError } from '../../core/errors.ts'
import type { LayerCache } from '../../image/cache.ts'
import { type BaseImage, descriptor, labels } from '../../image/image.ts'
import { planWar, type WarLayout } from '../../image/layers.ts'
import { refusePointers } from '../../image/lfs-pointers.ts'
import { readSavedImage, type SavedImage } from '../../image/saved-image.ts'
import type { War, WarDigests } from '../../image/war/war.ts'
import { type Descriptor, mediaTypes } from '../../registry/types.ts'
import type { Context } from '../context.ts'
import type { Composed } from './composed.ts'
import { type BuildBase, engineRegistry, findBuildBase, namedImages } from './docker-base.ts'
import {
  type BuildContext,
  type ContextInputs,
  packBuildContext,
  readBuildContext,
} from './docker-context.ts'
import { listWar, manifestsOf } from './file-manifest.ts'
import { requireWar } from './war-comparison.ts'

export interface DockerInputs extends ContextInputs {
  app: string
  webapp: string
  warLayout: WarLayout
  writable: string[]
  target?: string | undefined
  engine?: string | undefined
  engineCertificates?: string | undefined
  architecture: string
}

/** The label by which an operator finds what builds have left on an engine. */
const BUILD_LABEL = 'io.crosscloud.build'

/**
 * An image by the user's own Dockerfile, built by a Docker Engine, with the WAR where the settings
 * say: VERIFY_FAILED otherwise. Another build gives another digest.
 */
export async function buildWithDocker(
  inputs: DockerInputs,
  war: War,
  digests: WarDigests,
  cache: LayerCache,
  context: Context,
): Promise<Composed> {
  const { signal, log } = context
  const { webapp, warLayout, architecture, engine, engineCertificates: certificates } = inputs
  await refusePointers(planWar(war, digests, { layout: 'exploded', webapp }))
  const sent = await readBuildContext(inputs, war.path, context)
  const builder = await context.imageBuilder({ address: engine, certificates })
  const { id, from } = await runBuild(builder, sent, inputs, context)
  const image = await builder.find(id)
  if (!image) throw lost(id)
  if (image.architecture !== architecture) {
    throw new StepError(
      'INPUT_INVALID',
      `the built image is for ${image.architecture}, not ${architecture}`,
      {
        hint: 'Choose with `--architecture`, and see whether a FROM line names a platform.',
      },
    )
  }
  const named = namedImages(sent)
  const base = await findBuildBase(builder, { from, image, named }, inputs, context)
  if (!base) log.info('which image it began from is not known, and is not recorded')
  const saved = await readSavedImage(await builder.save(id), {
    cache,
    signal,
    known: base?.remote?.content.layers.length ?? 0,
    roots: [webapp, `${webapp.replace(/\/+$/, '')}.war`],
  })
  const files = await listWar(war, webapp, signal)
  requireWar(saved.tree, { files, md5: digests.md5 }, inputs)
  return {
    base: builtImage(saved, base),
    reference: base?.remote?.reference,
    folders: undefined,
    layers: [],
    blobs: saved.layers.filter((layer) => layer !== undefined),
    manifests: manifestsOf(files, digests.md5, { warLayout, webapp }),
    labels: foreignLabels(saved),
    created: saved.config.created ?? war.newest.toISOString(),
  }
}

async function runBuild(
  builder: ImageBuilder,
  sent: BuildContext,
  { app, architecture, target }: DockerInputs,
  { signal, log }: Context,
) {
  const registries = [...new Set(namedImages(sent).map(engineRegistry))]
  const { dockerfile, args } = sent
  return builder.build({
    dockerfile,
    args,
    target,
    registries,
    context: await packBuildContext(sent, signal),
    platform: `linux/${architecture}`,
    labels: { [BUILD_LABEL]: app },
    onLine: log.output,
  })
}

/** Layers of a base that a registry has are named as it has them: its blobs are mounted there. */
function builtImage({ config, layers }: SavedImage, base: BuildBase | undefined): BaseImage {
  const below: Descriptor[] = base?.remote?.content.layers ?? []
  const all = layers.map((layer, index): Descriptor => {
    if (layer) return { mediaType: mediaTypes.ociLayerGzip, digest: layer.digest, size: layer.size }
    const known = below[index]
    if (known) return known
    throw new StepError('INTERNAL', `layer ${index} of the built image has no blob`)
  })
  const none = descriptor(mediaTypes.ociConfig, Buffer.alloc(0))
  return {
    digest: base?.digest,
    manifest: { schemaVersion: 2, config: none, layers: all },
    config,
  }
}

/** What the Dockerfile says of the image, but for what crosscloud says itself. */
function foreignLabels({ config }: SavedImage): Record<string, string> {
  const own = Object.entries(labels).filter(([name]) => name !== 'source')
  const ours = new Set<string>([...own.map(([, label]) => label), BASE_NAME])
  const all = Object.entries(config.config?.Labels ?? {})
  return Object.fromEntries(
    all.filter(([name]) => !ours.has(name) && !name.startsWith('io.crosscloud.')),
  )
}

/** Of the base's own base. */
const BASE_NAME = 'org.opencontainers.image.base.name'

function lost(id: string): StepError {
  return new StepError(
    'NOT_FOUND',
    `the engine no longer has image ${id}, which it has just built`,
    {
      hint: 'Something prunes images there; run the command again.',
    },
  )
}
