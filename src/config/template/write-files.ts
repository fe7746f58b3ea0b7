import {
  constants,
  type FileHandle,
  lstat,
  mkdir,
  open,
  realpath,
  rename,
  rm,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import pLimit from 'p-limit'
import { errorCodeOf, explain, StepError, throwIfCancelled } from '../../core/errors.ts'
import { isRoot, stageFile, syncFolder } from '../../core/files/atomic-file.ts'
import { settleAll } from '../../core/settle-all.ts'
import type { RenderedFile } from './render.ts'
import { destProblem } from './resources.ts'

export type FileToWrite = Pick<RenderedFile, 'path' | 'content' | 'mode' | 'uid' | 'gid'>

const MOST_AT_ONCE = 32

interface Staged {
  temporary: string
  final: string
}

/**
 * Writes files below `folder`: `/etc/app.conf` becomes `<folder>/etc/app.conf`. All are complete on
 * disk, with mode and (as root) owner, before the first takes its place. Refuses paths that leave
 * the folder and parents that are symbolic links. A failure before the first rename changes
 * nothing. A file that is already the same, to the last bit, is left alone.
 */
export async function writeFiles(
  folder: string,
  files: readonly FileToWrite[],
  signal?: AbortSignal,
): Promise<void> {
  refuseBadPaths(files)
  const staged: Staged[] = []
  const fail = (error: unknown): never => {
    throw error instanceof StepError ? error : explain(`writing below ${folder}`, error)
  }
  try {
    await mkdir(folder, { recursive: true })
    const root = await realpath(folder)
    for (const file of files) await makeParents(root, file.path)
    // A disk takes many small files at once as fast as a single file.
    const limit = pLimit(MOST_AT_ONCE)
    const stage = async (file: FileToWrite): Promise<void> => {
      throwIfCancelled(signal)
      const found = await stageUnlessInPlace(root, file)
      if (found) staged.push(found)
    }
    await settleAll(files.map((file) => limit(stage, file).catch(fail)))
    throwIfCancelled(signal)
    for (const { temporary, final } of staged) await rename(temporary, final)
    for (const parent of new Set(staged.map(({ final }) => dirname(final))))
      await syncFolder(parent)
  } catch (error) {
    for (const { temporary } of staged) await rm(temporary, { force: true })
    fail(error)
  }
}

async function stageUnlessInPlace(root: string, file: FileToWrite): Promise<Staged | undefined> {
  const final = join(root, file.path)
  await refuseFolder(final)
  if (await isInPlace(final, file)) return undefined
  const { content, mode, uid, gid } = file
  return { temporary: await stageFile(final, content, { mode, owner: { uid, gid } }), final }
}

function refuseBadPaths(files: readonly FileToWrite[]): void {
  const seen = new Set<string>()
  const problems: string[] = []
  for (const { path } of files) {
    const problem = destProblem(path)
    if (problem) problems.push(`${JSON.stringify(path)} ${problem}`)
    if (seen.has(path)) problems.push(`${path} is written twice`)
    seen.add(path)
  }
  if (problems.length > 0) throw new StepError('INPUT_INVALID', problems.join('\n'))
}

async function makeParents(root: string, path: string): Promise<void> {
  let folder = root
  for (const segment of dirname(path).split('/').filter(Boolean)) {
    folder = join(folder, segment)
    try {
      await mkdir(folder)
    } catch (error) {
      if (errorCodeOf(error) !== 'EEXIST') throw error
      if ((await lstat(folder)).isDirectory()) continue
      throw new StepError('INPUT_INVALID', `${folder} is not a folder, or is a symbolic link`, {
        hint: 'Remove it, or choose another folder: nothing is written through links.',
      })
    }
  }
}

async function refuseFolder(final: string): Promise<void> {
  const status = await lstat(final).catch(() => undefined)
  if (!status?.isDirectory()) return
  throw new StepError('INPUT_INVALID', `${final} is a folder; a file belongs there`, {
    hint: 'Remove the folder.',
  })
}

async function isInPlace(final: string, file: FileToWrite): Promise<boolean> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  let handle: FileHandle | undefined
  try {
    handle = await open(final, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    const status = await handle.stat()
    if (!status.isFile() || status.size !== file.content.length) return false
    if ((status.mode & 0o7777) !== file.mode) return false
    if (isRoot() && (status.uid !== file.uid || status.gid !== file.gid)) return false
    return file.content.equals(await handle.readFile())
  } catch {
    // A file that cannot be read is written again, and that reports the error.
    return false
  } finally {
    await handle?.close()
  }
}
