import type Docker from 'dockerode'
import type { Caller } from './call.ts'

/** Images that are looked at. */
const MOST_IMAGES = 50

/**
 * How many of an image's layers, from the first on, the engine has already. It takes a layer from
 * another image only where all layers below are the same, too (image-spec, config.md, "Layer ChainID").
 */
export async function heldLayers(
  docker: Docker,
  call: Caller,
  image: string,
  diffIds: readonly string[],
): Promise<number> {
  const inspect = async (name: string) => {
    const found = await call(
      `inspecting the image ${name}`,
      () => docker.getImage(name).inspect(),
      {
        fine: [404],
      },
    )
    return typeof found === 'number' ? [] : (found.RootFS.Layers ?? [])
  }
  let held = inCommon(diffIds, await inspect(image))
  if (held === diffIds.length) return held
  const images = await call('listing images', (abortSignal) => docker.listImages({ abortSignal }))
  const repository = `${image.split('@')[0]}@`
  const isRelated = ({ RepoDigests }: Docker.ImageInfo) =>
    RepoDigests?.some((name) => name.startsWith(repository)) ?? false
  for (const group of [images.filter(isRelated), images.filter((each) => !isRelated(each))]) {
    // One after the other: over SSH each request at once would be a connection.
    for (const { Id } of group.slice(0, MOST_IMAGES)) {
      held = Math.max(held, inCommon(diffIds, await inspect(Id)))
      if (held === diffIds.length) return held
    }
    // Releases of one application have more in common than with any other image.
    if (held > 0) return held
  }
  return held
}

/** Layers that both begin with. */
function inCommon(layers: readonly string[], others: readonly string[]): number {
  const at = layers.findIndex((layer, index) => layer !== others[index])
  return at < 0 ? layers.length : at
}
