import type { IncomingMessage } from 'node:http'
import { posix } from 'node:path'
import type { Readable } from 'node:stream'
import type Docker from 'dockerode'
import { StepError } from '../../core/errors.ts'
import { isBelow } from '../../core/git/checkout.ts'
import { eachEntry } from '../instance-files.ts'
import type { InstanceChanges, InstanceOrigin, PlacedFile } from '../target.ts'
import { type Caller, VERB_TIMEOUT } from './call.ts'
import { type ContainerSpec, REPLACED_FOLDER } from './host.ts'
import {
  inMemoryError,
  isOnVolumeOf,
  onVolumeError,
  parentFolders,
  tarOf,
  tmpfsPaths,
  volumePaths,
} from './placed-files.ts'

/** Places the files that are not on volumes. */
export async function placeFiles(container: Docker.Container, call: Caller, spec: ContainerSpec) {
  const { inside, missing } = await survey(container, call, spec)
  if (inside.length === 0) return
  await put(
    container,
    call,
    tarOf(inside, missing),
    `placing ${inside.length} files in ${spec.name}`,
  )
}

/** What the files replace is kept in the container itself, for the old container to be restored with. */
export async function placeOnVolumes(
  container: Docker.Container,
  call: Caller,
  spec: ContainerSpec,
): Promise<void> {
  const { onVolumes, missing } = await survey(container, call, spec)
  if (onVolumes.length === 0) return
  const replaced: PlacedFile[] = []
  for (const file of onVolumes) {
    const found = await readFile(container, call, file.path)
    if (found) replaced.push({ ...found, path: `${REPLACED_FOLDER}${file.path}` })
  }
  const keeping = `keeping what the files of ${spec.name} replace on volumes`
  const folders = parentFolders(replaced)
  await put(container, call, tarOf(replaced, folders, 0o700), keeping)
  const doing = `placing ${onVolumes.length} files of ${spec.name} on volumes`
  await put(container, call, tarOf(onVolumes, missing), doing)
}

export async function putBack(container: Docker.Container, call: Caller): Promise<void> {
  const doing = `putting back files on volumes of ${container.id.slice(0, 12)}`
  const path = REPLACED_FOLDER
  const archive = await call(doing, (abortSignal) => container.getArchive({ path, abortSignal }), {
    fine: [404],
  })
  if (typeof archive === 'number') return
  const files: PlacedFile[] = []
  for (const file of await readFiles(archive as Readable)) {
    files.push({ ...file, path: file.path.slice(file.path.indexOf('/', 1)) })
  }
  await put(container, call, tarOf(files, []), doing)
}

async function put(
  container: Docker.Container,
  call: Caller,
  tar: Readable,
  doing: string,
): Promise<void> {
  const place = (abortSignal: AbortSignal) => container.putArchive(tar, { path: '/', abortSignal })
  await call(doing, place, {
    hint: 'See that no path goes through a file or a read-only volume of the container.',
  })
}

async function readFile(
  container: Docker.Container,
  call: Caller,
  path: string,
): Promise<PlacedFile | undefined> {
  const archive = await call(
    `reading ${path}`,
    (abortSignal) => container.getArchive({ path, abortSignal }),
    { fine: [404] },
  )
  if (typeof archive === 'number') return undefined
  return (await readFiles(archive as Readable))[0]
}

/** The plain files of a tar, small ones: rendered text. */
async function readFiles(archive: Readable): Promise<PlacedFile[]> {
  const files: PlacedFile[] = []
  await eachEntry(archive, AbortSignal.timeout(VERB_TIMEOUT), async (entry) => {
    const { name, type, mode = 0o600, uid = 0, gid = 0 } = entry.header
    if (type !== 'file') return false
    const chunks: Buffer[] = []
    for await (const chunk of entry) chunks.push(chunk as Buffer)
    const content = Buffer.concat(chunks)
    files.push({ path: `/${name}`, content, mode: mode & 0o7777, uid, gid })
    return false
  })
  return files
}

/** Which files go where, and the folders above them that are missing. */
async function survey(
  container: Docker.Container,
  call: Caller,
  { files, name, settings }: ContainerSpec,
) {
  const missing: string[] = []
  /** Folder → where it really is, when a link leads there. */
  const real = new Map<string, string>()
  const realFolder = (folder: string) =>
    real.get(folder) ??
    posix.join(real.get(posix.dirname(folder)) ?? posix.dirname(folder), posix.basename(folder))
  const folders = parentFolders(files)
  const stats = await Promise.allSettled(
    folders.map((folder) => statOf(container, call, folder, name)),
  )
  for (const [at, folder] of folders.entries()) {
    const stat = stats[at]
    // What is wrong with a folder above has been thrown by now.
    if (stat?.status === 'rejected') throw stat.reason
    const found = stat?.value
    real.set(folder, found?.target ?? realFolder(folder))
    if (found === undefined) {
      missing.push(folder)
      continue
    }
    // A link may lead to a folder.
    if (found.kind !== 'other') continue
    throw new StepError('INPUT_INVALID', `placing files in ${name}: ${folder} is not a folder`, {
      hint: 'Give the files other paths, or change the image.',
    })
  }
  const volumes = volumePaths(settings)
  const realPath = ({ path }: PlacedFile) => {
    const folder = posix.dirname(path)
    return posix.join(real.get(folder) ?? folder, posix.basename(path))
  }
  const hidden = files.find((file) => isOnVolumeOf(tmpfsPaths(settings), realPath(file)))
  if (hidden) throw inMemoryError(hidden.path)
  const isOnVolume = (file: PlacedFile) => isOnVolumeOf(volumes, realPath(file))
  const onVolumes = files.filter(isOnVolume)
  const [first] = onVolumes
  if (first && !settings.onVolume) throw onVolumeError(first.path)
  return { inside: files.filter((file) => !isOnVolume(file)), onVolumes, missing }
}

interface PathStat {
  kind: 'folder' | 'link' | 'other'
  /** Where a link leads. */
  target: string | undefined
}

/** What is at a path of the container. Go's os.FileMode: bit 31 is a folder, 27 a symbolic link. */
export async function statOf(
  container: Docker.Container,
  call: Caller,
  path: string,
  name: string,
): Promise<PathStat | undefined> {
  const response = await call(
    `looking for ${path} in ${name}`,
    (abortSignal) => container.infoArchive({ path, abortSignal }),
    { fine: [404] },
  )
  if (typeof response === 'number') return undefined
  const { headers } = (response as IncomingMessage).resume()
  const header = String(headers['x-docker-container-path-stat'])
  const { mode = 0, linkTarget } = JSON.parse(Buffer.from(header, 'base64').toString()) as {
    mode?: number
    linkTarget?: string
  }
  if ((mode & (1 << 31)) !== 0) return { kind: 'folder', target: undefined }
  if ((mode & (1 << 27)) === 0) return { kind: 'other', target: undefined }
  return { kind: 'link', target: linkTarget || undefined }
}

/** https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerChanges */
const CHANGE_KINDS = ['changed', 'added', 'deleted'] as const

/** Without what `placeOnVolumes` keeps. Docker walks through the image's files for it, all of them. */
export async function changes(container: Docker.Container, call: Caller): Promise<InstanceChanges> {
  const doing = `comparing container ${container.id.slice(0, 12)} with its image`
  const [facts, found] = await Promise.all([
    call(doing, (abortSignal) => container.inspect({ abortSignal })),
    call(doing, (abortSignal) => container.changes({ abortSignal })) as Promise<
      { Path: string; Kind: 0 | 1 | 2 }[] | null
    >,
  ])
  return {
    // Docker's null, for no change, comes from dockerode as a buffer.
    changes: (Array.isArray(found) ? found : [])
      .filter(({ Path }) => !isBelow(Path, REPLACED_FOLDER))
      .map(({ Path, Kind }) => ({ path: Path, kind: CHANGE_KINDS[Kind] })),
    volumes: mountsOf(facts),
  }
}

export async function origin(container: Docker.Container, call: Caller): Promise<InstanceOrigin> {
  // dockerode's types know neither `size` nor what it adds.
  const facts = (await call(`inspecting ${container.id.slice(0, 12)}`, (abortSignal) =>
    container.inspect({ size: true, abortSignal } as object),
  )) as Docker.ContainerInspectInfo & { SizeRw?: number }
  return { imageDigest: facts.Image, ownBytes: facts.SizeRw ?? 0, volumes: mountsOf(facts) }
}

function mountsOf({ Mounts, HostConfig }: Docker.ContainerInspectInfo): string[] {
  const inMemory = Object.keys(HostConfig.Tmpfs ?? {})
  return [...Mounts.map(({ Destination }) => Destination), ...inMemory].sort()
}
