import { resolve } from 'node:path'
import { type Addition, planAdditions } from '../../image/additions.ts'
import type { LayerCache } from '../../image/cache.ts'
import { type LayerPlan, planWar, type WarLayout } from '../../image/layers.ts'
import { refusePointers } from '../../image/lfs-pointers.ts'
import { refuseOverlaps } from '../../image/overlaps.ts'
import type { FileTimes } from '../../image/war/times.ts'
import type { War, WarDigests } from '../../image/war/war.ts'
import type { Context } from '../context.ts'
import { refuseFilesOfBase, refuseForeign } from './bake-checks.ts'
import { type Base, planFolders } from './base-image.ts'
import { buildOn, type Composed } from './composed.ts'
import { fileManifests } from './file-manifest.ts'
import { setTimes } from './image-times.ts'

export interface DirectInputs {
  webapp: string
  warLayout: WarLayout
  writable: string[]
  times: FileTimes
  /** `bin/confd:/usr/local/bin/confd` */
  add: string[]
  commit?: string | undefined
}

/** The WAR and the additions as layers on a base, without a daemon; the same input, the same layers. */
export async function buildDirectly(
  { image, reference, folders }: Base,
  inputs: DirectInputs,
  war: War,
  digests: WarDigests,
  cache: LayerCache,
  context: Context,
): Promise<Composed> {
  if (folders) refuseFilesOfBase(inputs, war, folders)
  const files = await planFiles(war, digests, inputs, context)
  const plans = await setTimes(files, war, inputs, context)
  const layers = await buildOn(folders, plans, cache, context.signal)
  const manifests = await fileManifests(layers, war, inputs, context.signal)
  if (reference && folders) {
    layers.push(...(await buildOn(folders, [planFolders(folders)], cache, context.signal)))
  }
  const created = war.newest.toISOString()
  return { base: image, reference, folders, layers, blobs: [], manifests, labels: {}, created }
}

/** The additions, and above them the WAR. */
async function planFiles(
  war: War,
  digests: WarDigests,
  { add, webapp, warLayout: layout }: DirectInputs,
  context: Context,
): Promise<LayerPlan[]> {
  const additions = await planAdditions(additionsOf(add, context), context.signal)
  const plans = planWar(war, digests, { layout, webapp })
  const owned = additions.map((plan, index) => ({ owner: add[index] ?? '', plan }))
  refuseOverlaps(plans, owned, { layout, webapp })
  const files = planWar(war, digests, { layout: 'exploded', webapp })
  await refusePointers([...additions, ...files])
  return [...additions, ...plans]
}

function additionsOf(add: readonly string[], { cwd }: Context): Addition[] {
  return add.map((text) => {
    const at = text.lastIndexOf(':/')
    const from = resolve(cwd, text.slice(0, at))
    refuseForeign(from, cwd)
    return { from, to: text.slice(at + 1) }
  })
}
