import { posix } from 'node:path'
import type { Readable } from 'node:stream'
import { pack } from 'tar-stream'
import { StepError } from '../../core/errors.ts'
import type { PlacedFile } from '../target.ts'
import type { ContainerSettings } from './host.ts'

/** Refuses files that could land anywhere but where their path says. */
export function checkFiles(files: readonly PlacedFile[]): void {
  const seen = new Set<string>()
  for (const { path, mode, uid, gid } of files) {
    const bad = (why: string) =>
      new StepError('INPUT_INVALID', `file ${JSON.stringify(path)}: ${why}`, {
        hint: 'Give an absolute path without "." or "..", a mode like 0640, and numeric owners.',
      })
    if (!path.startsWith('/')) throw bad('the path is not absolute')
    if (path.includes('\0')) throw bad('the path holds a NUL')
    const parts = path.slice(1).split('/')
    if (parts.some((part) => part === '' || part === '.' || part === '..')) {
      throw bad('the path has an empty, "." or ".." part')
    }
    if (seen.has(path)) throw bad('the path is given twice')
    seen.add(path)
    if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) throw bad(`${mode} is not a mode`)
    for (const id of [uid, gid]) {
      if (!Number.isInteger(id) || id < 0) throw bad(`${id} is not an owner`)
    }
  }
}

/** All folders above the files, parents first. */
export function parentFolders(files: readonly PlacedFile[]): string[] {
  const folders = new Set<string>()
  for (const { path } of files) {
    for (let folder = posix.dirname(path); folder !== '/'; folder = posix.dirname(folder)) {
      folders.add(folder)
    }
  }
  return [...folders].sort()
}

/** Where the settings mount something in the container. */
export function volumePaths({ volumes }: { volumes: readonly { path: string }[] }): string[] {
  return volumes.map(({ path }) => posix.normalize(path).replace(/\/+$/, ''))
}

export function isOnVolumeOf(volumes: readonly string[], path: string): boolean {
  return volumes.some((volume) => path.startsWith(`${volume}/`) || path === volume)
}

/**
 * The old container sees what is placed on a volume, and would keep it when it is restored. What is
 * placed below a folder in memory is hidden once the container runs, and an engine places nothing in
 * a read-only file system.
 */
export function refuseFilesOnVolumes(
  files: readonly PlacedFile[],
  settings: ContainerSettings,
): void {
  refuseHidden(files, settings)
  if (settings.onVolume) return
  const volumes = volumePaths(settings)
  const found = files.find(({ path }) => isOnVolumeOf(volumes, path))
  if (found) throw onVolumeError(found.path)
}

/** Where the settings put folders in memory. */
export function tmpfsPaths({ tmpfs = [] }: Pick<ContainerSettings, 'tmpfs'>): string[] {
  return volumePaths({ volumes: tmpfs.map(({ path }) => ({ path })) })
}

function refuseHidden(files: readonly PlacedFile[], settings: ContainerSettings): void {
  const [first] = files
  if (first && settings.readOnly) {
    throw new StepError('INPUT_INVALID', `${first.path} cannot be placed: container.read-only`, {
      hint: 'Docker places no files in a read-only container. Leave `container.read-only` out, or render no files.',
    })
  }
  const folders = tmpfsPaths(settings)
  const hidden = files.find(({ path }) => isOnVolumeOf(folders, path))
  if (hidden) throw inMemoryError(hidden.path)
}

export function inMemoryError(path: string): StepError {
  return new StepError(
    'INPUT_INVALID',
    `${path} is in a folder of container.tmpfs, which is empty when the container starts`,
    { hint: 'Render it to another path, or leave the folder out of `container.tmpfs`.' },
  )
}

export function onVolumeError(path: string): StepError {
  return new StepError(
    'INPUT_INVALID',
    `${path} is on a volume, which the running container sees`,
    {
      hint: 'Render it to a path that is on no volume, or write `container.on-volume: true`: it is placed once the old container has stopped, and put back if that must come back.',
    },
  )
}

/** One tar, relative to `/`: the missing folders, which every user may enter, then the files. */
export function tarOf(
  files: readonly PlacedFile[],
  missingFolders: readonly string[],
  folderMode = 0o755,
): Readable {
  const tar = pack()
  for (const folder of missingFolders) {
    tar.entry({ name: `${folder.slice(1)}/`, type: 'directory', mode: folderMode, uid: 0, gid: 0 })
  }
  for (const { path, content, mode, uid, gid } of files) {
    tar.entry({ name: path.slice(1), mode, uid, gid }, content)
  }
  tar.finalize()
  return tar as unknown as Readable
}
