import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import { isStepError, StepError } from '../errors.ts'
import { listSome } from '../lists.ts'
import type { Git } from './git.ts'

/**
 * The longest pointer that git keeps in place of a file, in bytes (git-lfs, docs/spec.md, "The
 * Pointer").
 */
export const LARGEST_POINTER = 1023
const POINTER =
  /^version https:\/\/(?:git-lfs\.github\.com|hawser\.github\.com)\/spec\/\S+\n(?:[a-z0-9.-]+ [^\n]*\n)*?oid \w+:[0-9a-f]{64}\n/

export function isLfsPointer(content: Buffer): boolean {
  return content.length <= LARGEST_POINTER && POINTER.test(content.toString('latin1'))
}

const IN_SUBMODULES = ['submodule', '--quiet', 'foreach', '--recursive']
/** For this checkout alone: the user's settings stay, and no hooks are installed. */
const INSTALL = ['lfs', 'install', '--local', '--skip-repo']
const PULL = ['lfs', 'pull']

/**
 * Fetches the files of a checkout and its submodules from Git LFS; the error names missing files.
 */
export async function fetchLargeFiles(folder: string, git: Git): Promise<void> {
  const pointers = await pointersIn(folder, git)
  if (pointers.length === 0) return
  const what = `${listSome(pointers)} from Git LFS`
  try {
    await git('lfs', 'version')
  } catch (error) {
    if (!isStepError(error, 'COMMAND_FAILED')) throw error
    throw new StepError('NOT_FOUND', `fetching ${what}: git-lfs is not installed here`, {
      hint: 'Install git-lfs where this runs.',
      cause: error,
    })
  }
  try {
    for (const command of [INSTALL, PULL]) {
      await git(...command)
      await git(...IN_SUBMODULES, 'git', ...command)
    }
  } catch (error) {
    if (!isStepError(error, 'COMMAND_FAILED')) throw error
    throw new StepError('COMMAND_FAILED', `fetching ${what}: ${error.message}`, {
      hint: 'Push the files to it with `git lfs push --all origin`, or check the credentials.',
      cause: error,
    })
  }
  const left = await pointersIn(folder, git)
  if (left.length === 0) return
  throw new StepError('NOT_FOUND', `fetching ${listSome(left)} from Git LFS: they did not come`)
}

/**
 * Paths of pointer files, among those that .gitattributes gives to LFS: reading all files takes
 * long.
 */
async function pointersIn(folder: string, git: Git): Promise<string[]> {
  const { stdout } = await git('ls-files', '--recurse-submodules', '-z', '--', ':(attr:filter=lfs)')
  const found: string[] = []
  for (const path of stdout.split('\0')) {
    if (path !== '' && (await holdsPointer(resolve(folder, path)))) found.push(path)
  }
  return found
}

async function holdsPointer(path: string): Promise<boolean> {
  const file = await open(path, 'r').catch(() => undefined)
  if (!file) return false
  try {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(LARGEST_POINTER + 1) })
    return isLfsPointer(buffer.subarray(0, bytesRead))
  } finally {
    await file.close()
  }
}
