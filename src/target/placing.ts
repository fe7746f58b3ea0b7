import { posix } from 'node:path'
import type { Readable } from 'node:stream'
import { pack } from 'tar-stream'
import { StepError } from '../core/errors.ts'
import type { PlacedFile } from './target.ts'

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

/** One tar, relative to `/`: the missing folders, which everybody may pass through, then the files. */
export function tarOf(files: readonly PlacedFile[], missingFolders: readonly string[]): Readable {
  const tar = pack()
  for (const folder of missingFolders) {
    tar.entry({ name: `${folder.slice(1)}/`, type: 'directory', mode: 0o755, uid: 0, gid: 0 })
  }
  for (const { path, content, mode, uid, gid } of files) {
    tar.entry({ name: path.slice(1), mode, uid, gid }, content)
  }
  tar.finalize()
  return tar as unknown as Readable
}
