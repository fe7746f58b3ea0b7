import type { BaseFolders } from '../../image/base/folders.ts'
import { placeOnBase } from '../../image/base/place.ts'
import { buildLayer } from '../../image/build.ts'
import type { LayerCache } from '../../image/cache.ts'
import type { BaseImage } from '../../image/image.ts'
import type { Layer, LayerPlan } from '../../image/layers.ts'
import type { Reference } from '../../registry/reference.ts'

/** What a builder makes of the WAR: an image that lacks only crosscloud's own small layers. */
export interface Composed {
  /** The image below `layers`. */
  base: BaseImage
  /** The image whose repository has the blobs that are not in the cache. */
  reference: Reference | undefined
  /** Of the base; undefined where its folders need not, or cannot, be known. */
  folders: BaseFolders | undefined
  layers: Layer[]
  /** Blobs of the base itself that are in the cache. */
  blobs: Pick<Layer, 'digest'>[]
  /** Lists of files by which a container is compared. */
  manifests: Map<string, Buffer>
  /** Labels beside crosscloud's own. */
  labels: Record<string, string>
  /** ISO 8601 */
  created: string
}

/** Layers on the base with these folders, from the cache or written into it. */
export async function buildOn(
  folders: BaseFolders | undefined,
  plans: LayerPlan[],
  cache: LayerCache,
  signal: AbortSignal,
): Promise<Layer[]> {
  const layers: Layer[] = []
  for (const plan of folders ? placeOnBase(plans, folders) : plans) {
    layers.push(await buildLayer(plan, cache, signal))
  }
  return layers
}
