import type { IncomingMessage } from 'node:http'
import type Docker from 'dockerode'
import { StepError } from '../core/errors.ts'
import type { Caller } from './call.ts'
import { parentFolders, tarOf } from './placing.ts'
import type { ContainerChanges, ContainerSpec } from './target.ts'

export async function placeFiles(container: Docker.Container, call: Caller, spec: ContainerSpec) {
  const { files, name } = spec
  if (files.length === 0) return
  const missing: string[] = []
  for (const folder of parentFolders(files)) {
    if (missing.some((above) => folder.startsWith(`${above}/`))) {
      missing.push(folder)
      continue
    }
    const kind = await kindOf(container, call, folder, name)
    if (kind === undefined) {
      missing.push(folder)
      continue
    }
    // A link may lead to a folder.
    if (kind !== 'other') continue
    throw new StepError('INPUT_INVALID', `placing files in ${name}: ${folder} is not a folder`, {
      hint: 'Give the files other paths, or change the image.',
    })
  }
  const place = (abortSignal: AbortSignal) =>
    container.putArchive(tarOf(files, missing), { path: '/', abortSignal })
  await call(`placing ${files.length} files in ${name}`, place, {
    hint: 'See that no path goes through a file or a read-only volume of the container.',
  })
}

/** What is at a path of the container. Go's os.FileMode: bit 31 is a folder, 27 a symbolic link. */
export async function kindOf(
  container: Docker.Container,
  call: Caller,
  path: string,
  name: string,
): Promise<'folder' | 'link' | 'other' | undefined> {
  const answer = await call(
    `looking for ${path} in ${name}`,
    (abortSignal) => container.infoArchive({ path, abortSignal }),
    { fine: [404] },
  )
  if (typeof answer === 'number') return undefined
  const response = answer as IncomingMessage
  response.resume()
  const header = String(response.headers['x-docker-container-path-stat'])
  const { mode = 0 } = JSON.parse(Buffer.from(header, 'base64').toString()) as { mode?: number }
  if ((mode & (1 << 31)) !== 0) return 'folder'
  return (mode & (1 << 27)) !== 0 ? 'link' : 'other'
}

/** https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerChanges */
const CHANGE_KINDS = ['changed', 'added', 'deleted'] as const

export async function changes(
  container: Docker.Container,
  call: Caller,
): Promise<ContainerChanges> {
  const doing = `comparing container ${container.id.slice(0, 12)} with its image`
  const { Mounts } = await call(doing, (abortSignal) => container.inspect({ abortSignal }))
  const told = (await call(doing, (abortSignal) => container.changes({ abortSignal }))) as
    | { Path: string; Kind: 0 | 1 | 2 }[]
    | null
  return {
    // An engine that finds no change answers null.
    changes: (told ?? []).map(({ Path, Kind }) => ({ path: Path, kind: CHANGE_KINDS[Kind] })),
    volumes: Mounts.map(({ Destination }) => Destination).sort(),
  }
}
