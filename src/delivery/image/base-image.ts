import pLimit from 'p-limit'
import { type Digest, parseDigest, shortDigest } from '../../core/digest.ts'
import { describe, explain, isStepError, StepError } from '../../core/errors.ts'
import { folderRecords } from '../../image/base/folder-records.ts'
import {
  type BaseFolders,
  baseFoldersSchema,
  type LayerFolders,
  mergeFolders,
} from '../../image/base/folders.ts'
import { readLayerFolders } from '../../image/base/layer-folders.ts'
import { type BaseImage, OWN_FOLDER, scratchBase } from '../../image/image.ts'
import { type LayerPlan, planTexts } from '../../image/layers.ts'
import type { Release } from '../../ledger/ledger.ts'
import {
  formatReference,
  parseRepository,
  type Reference,
  withDigest,
} from '../../registry/reference.ts'
import type { Descriptor } from '../../registry/types.ts'
import type { Context } from '../context.ts'
import { openImage, readLayerFiles } from './remote-image.ts'

export interface Base {
  image: BaseImage
  /** By digest; undefined for `scratch`. */
  reference: Reference | undefined
  /** Undefined where a layer cannot be read. */
  folders: BaseFolders | undefined
}

/** `scratch`, as every reference is read. */
const SCRATCH = 'docker.io/library/scratch'

/** Manifest and config of the base, and its folders; none of its blobs is kept. */
export async function readBase(
  base: Reference,
  { app, architecture }: { app: string; architecture: string },
  context: Context,
): Promise<Base> {
  if (formatReference(base) === SCRATCH) {
    const folders = { folders: {}, links: {} }
    return { image: scratchBase(architecture), reference: undefined, folders }
  }
  const { manifest, content, config } = await openImage(await context.registry(), base, {
    what: 'base image',
    architecture,
  })
  const image = { digest: manifest.digest, manifest: content, config }
  const reference = withDigest(base, parseDigest(manifest.digest))
  return { image, reference, folders: await findFolders(image, reference, app, context) }
}

/** Where an image keeps the folders of its base, for images that are baked on the same base later. */
const LAYER = 'base'
const FILE = 'base-folders.json'

/** The small layer with the folders. */
export function planFolders(folders: BaseFolders): LayerPlan {
  const { files: _files, ...kept } = folders
  const content = Buffer.from(`${JSON.stringify(kept)}\n`)
  return planTexts(LAYER, OWN_FOLDER, new Map([[FILE, { content, mode: 0o644 }]]))
}

/** From this machine's cache, else from an image baked on the same base, else from its layers. */
async function findFolders(
  image: BaseImage,
  reference: Reference,
  app: string,
  context: Context,
): Promise<BaseFolders | undefined> {
  const cached = (await recordsOf(context)).base(image.config.rootfs.diff_ids)
  const known = await cached.read()
  if (known) return known
  const found =
    (await fromEarlierImage(image, app, context)) ?? (await fromLayers(image, reference, context))
  if (found) await cached.write(found)
  return found
}

const recordsOf = async (context: Context) =>
  folderRecords({ folder: context.cacheFolder, sealKey: await context.sealKey() })

/** Releases that are searched for an image on this base. */
const RECENT = 20

/** A job may have no cache, and need not read the base again for that. */
async function fromEarlierImage(
  { digest, config }: BaseImage,
  app: string,
  context: Context,
): Promise<BaseFolders | undefined> {
  if (!(await context.hasSettings())) return undefined
  try {
    const release = (await trusted(app, context)).find(({ baseDigest }) => baseDigest === digest)
    if (!release) return undefined
    const registry = await context.registry()
    const place = withDigest(parseRepository(release.repository), release.digest)
    const earlier = await openImage(registry, place, { what: 'earlier image' })
    const below = earlier.config.rootfs.diff_ids.slice(0, config.rootfs.diff_ids.length)
    if (below.join() !== config.rootfs.diff_ids.join()) return undefined
    const files = await readLayerFiles(registry, earlier, LAYER, OWN_FOLDER)
    const text = files?.get(FILE)?.toString()
    return text === undefined ? undefined : baseFoldersSchema.parse(JSON.parse(text))
  } catch (error) {
    if (isStepError(error, 'CANCELLED')) throw error
    context.log.debug(`no earlier image has the base's folders: ${describe(error)}`)
    return undefined
  }
}

/**
 * What an image records of its base goes into all images baked after it: where there are gates, only
 * images that run behind a gate are trusted.
 */
async function trusted(app: string, context: Context): Promise<Release[]> {
  const ledger = await context.ledger()
  const { environments } = await context.settings()
  const gated = Object.keys(environments).filter((name) => environments[name]?.gate)
  if (gated.length === 0) return ledger.releases(app, RECENT)
  const running = (await ledger.current(app)).filter(({ environment }) =>
    gated.includes(environment),
  )
  const found = await Promise.all(running.map(({ version }) => ledger.findRelease(app, version)))
  return found.filter((release): release is Release => release !== undefined)
}

/** Layers read at once. */
const AT_ONCE = 3

async function fromLayers(
  { manifest, config }: BaseImage,
  reference: Reference,
  context: Context,
): Promise<BaseFolders | undefined> {
  const diffIds = config.rootfs.diff_ids
  if (diffIds.length !== manifest.layers.length) {
    throw new StepError('INPUT_INVALID', 'base image: its config and manifest differ in layers')
  }
  const limit = pLimit(AT_ONCE)
  const layers = await Promise.all(
    manifest.layers.map((layer, index) =>
      limit(() => readLayer(layer, diffIds[index] as Digest, reference, context)),
    ),
  )
  const read = layers.filter((layer) => layer !== undefined)
  return read.length === layers.length ? mergeFolders(read) : undefined
}

async function readLayer(
  layer: Descriptor,
  diffId: Digest,
  base: Reference,
  context: Context,
): Promise<LayerFolders | undefined> {
  const cached = (await recordsOf(context)).layer(diffId)
  const known = await cached.read()
  if (known) return known
  const name = `layer ${shortDigest(layer.digest)} of base image ${formatReference(base)}`
  context.log.info(`Reading owners of folders, once: ${name}, ${layer.size} bytes`)
  try {
    const blob = await (await context.registry()).getBlob(base, layer)
    const found = await readLayerFolders(blob, diffId, context.signal)
    if (found) await cached.write(found)
    else context.log.warn(`${name} is compressed with zstd: folders that it has become root's`)
    return found
  } catch (error) {
    throw explain(name, error)
  }
}
