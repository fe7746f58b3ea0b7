import type { HostImage } from '../../target.ts'
import type { Operating } from './operating.ts'

/** Every image of the engine, with the containers that were made from it. */
export async function listImages({ docker, call }: Operating): Promise<HostImage[]> {
  const [images, containers] = await Promise.all([
    call('listing images', (abortSignal) => docker.listImages({ abortSignal } as object)),
    call('listing containers', (abortSignal) =>
      docker.listContainers({ all: true, abortSignal } as object),
    ),
  ])
  return images.map(({ Id, RepoDigests, RepoTags, Labels, Size, Created }) => ({
    id: Id,
    references: [...(RepoDigests ?? []), ...(RepoTags ?? [])].filter(isReference),
    labels: Labels ?? {},
    size: Size,
    createdAt: new Date(Created * 1000).toISOString(),
    usedBy: containers
      .filter(({ ImageID }) => ImageID === Id)
      .map(({ Names, Id: container, State }) => ({
        name: Names[0]?.slice(1) ?? container.slice(0, 12),
        running: State === 'running',
      })),
  }))
}

/** Engines write `<none>` where a name is missing. */
const isReference = (text: string) => !text.includes('<none>')

/** Never by force: what a container was made from stays, whatever else is known of it. */
export async function removeImage(
  { docker, call, environment }: Operating,
  reference: string,
): Promise<void> {
  const remove = (abortSignal: AbortSignal) =>
    docker.getImage(reference).remove({ abortSignal } as object)
  await call(`removing ${reference}`, remove, {
    fine: [404],
    hint: `A container uses it: see \`crosscloud instances list --env ${environment} --all\`.`,
  })
}
