import { describe } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { instanceLabels } from '../targets/labels.ts'
import type { Engine } from './engine.ts'

/**
 * Takes the demo's containers off the engine and, where the engine is somebody else's, its images
 * as well. What cannot be removed is reported, never hidden behind another error.
 */
export async function clearEngine(
  { socket, own }: Engine,
  app: string,
  environments: readonly string[],
  log: Log,
): Promise<void> {
  const { default: Docker } = await import('dockerode')
  const docker = new Docker({ socketPath: socket })
  try {
    const images = new Set<string>()
    for (const environment of environments) {
      const filters = {
        label: [
          `${instanceLabels.application}=${app}`,
          `${instanceLabels.environment}=${environment}`,
        ],
      }
      for (const { Id, ImageID } of await docker.listContainers({ all: true, filters })) {
        await docker.getContainer(Id).remove({ force: true, v: true })
        images.add(ImageID)
      }
    }
    if (own) return
    for (const image of images) await docker.getImage(image).remove({ force: true })
  } catch (error) {
    log.warn(`could not clear the engine at ${socket}: ${describe(error)}`)
  }
}
