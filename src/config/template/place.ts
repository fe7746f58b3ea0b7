import { randomBytes } from 'node:crypto'
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
import { basename, dirname, join } from 'node:path'
import pLimit from 'p-limit'
import { errorCodeOf, explain, StepError, throwIfCancelled } from '../../core/errors.ts'
import type { RenderedFile } from './render.ts'
import { destProblem } from './resources.ts'

export type FileToWrite = Pick<RenderedFile, 'path' | 'content' | 'mode' | 'uid' | 'gid'>

const MOST_AT_ONCE = 32

interface Staged {
  temporary: string
  final: string
}

const isRoot = () => process.getuid?.() === 0

/**
 * Writes files below `folder`: `/etc/app.conf` becomes `<folder>/etc/app.conf`. All are complete on
 * disk, with mode and (as root) owner, before the first takes its place. Refuses paths that leave
 * the folder and parents that are symbolic links. A failure before the first rename changes nothing.
 * What stands there already, to the last bit, is left alone.
 */
export async function writeFiles(
  folder: string,
  files: readonly FileToWrite[],
  signal?: AbortSignal,
): Promise<void> {
  refuseBadPaths(files)
  const staged: Staged[] = []
  try {
    await mkdir(folder, { recursive: true })
    const root = await realpath(folder)
    for (const file of files) await makeParents(root, file.path)
    await inParallel(files, async (file) => {
      throwIfCancelled(signal)
      const final = join(root, file.path)
      await refuseFolder(final)
      if (await isInPlace(final, file)) return
      staged.push({ temporary: await stageFile(final, file), final })
    })
    throwIfCancelled(signal)
    for (const { temporary, final } of staged) await rename(temporary, final)
    for (const parent of new Set(staged.map(({ final }) => dirname(final))))
      await syncFolder(parent)
  } catch (error) {
    for (const { temporary } of staged) await rm(temporary, { force: true })
    throw error instanceof StepError ? error : explain(`writing below ${folder}`, error)
  }
}

/** A disk takes many small files at once as fast as one. All are done with when it fails, too. */
async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const limit = pLimit(MOST_AT_ONCE)
  const results = await Promise.allSettled(items.map((item) => limit(() => work(item))))
  const failed = results.find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
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
  throw new StepError('INPUT_INVALID', `${final} is a folder; a file shall be there`, {
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
    // Whatever cannot be read is written anew, where the fault shows.
    return false
  } finally {
    await handle?.close()
  }
}

/**
 * Writes a file under a name of its own beside `final`, ready to be renamed: created 0600, then
 * owner (as root), mode and fsync. Returns that name; after a failure nothing is left.
 */
export async function stageFile(
  final: string,
  { content, mode, uid, gid }: Omit<FileToWrite, 'path'>,
): Promise<string> {
  const unique = randomBytes(8).toString('hex')
  const temporary = join(dirname(final), `.${basename(final).slice(0, 100)}.${unique}`)
  const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants
  let handle: FileHandle | undefined
  try {
    handle = await open(temporary, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600)
    await handle.writeFile(content)
    if (isRoot()) await handle.chown(uid, gid)
    await handle.chmod(mode)
    await handle.sync()
  } catch (error) {
    if (handle) await rm(temporary, { force: true })
    throw error
  } finally {
    await handle?.close()
  }
  return temporary
}

/** Puts one file in its place at once and for good, whatever stood there before. */
export async function replaceFile(final: string, file: Omit<FileToWrite, 'path'>): Promise<void> {
  const temporary = await stageFile(final, file)
  try {
    await rename(temporary, final)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncFolder(dirname(final))
}

/** Makes renames in a folder last through a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
