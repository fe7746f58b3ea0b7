import { constants, type Stats } from 'node:fs'
import { lstat, open } from 'node:fs/promises'
import { errorCodeOf, StepError } from './errors.ts'

/** Nobody but this user and root may have written it. */
function isOurs({ uid, mode }: Stats): boolean {
  const me = process.geteuid?.()
  return me === undefined || ((uid === me || uid === 0) && (mode & 0o022) === 0)
}

/** Refuses a folder that others may write to, or put there. One that is missing is fine. */
export async function requireOwn(folder: string): Promise<void> {
  let stats: Stats
  try {
    stats = await lstat(folder)
  } catch (error) {
    if (errorCodeOf(error) === 'ENOENT') return
    throw error
  }
  if (stats.isDirectory() && isOurs(stats)) return
  const what = stats.isDirectory() ? '' : 'is no folder, '
  const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0')
  throw new StepError(
    'UNAUTHORIZED',
    `${folder} ${what}belongs to uid ${stats.uid} and has mode ${mode}: others may write there`,
    {
      hint: 'Remove it, or give it to this user with mode 0700; or set `CROSSCLOUD_STATE` to a folder of this user alone.',
    },
  )
}

/** The text of a plain file of ours; a link or a pipe that somebody put there is not followed. */
export async function readOwn(file: string): Promise<string> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  const handle = await open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    const stats = await handle.stat()
    if (!stats.isFile() || !isOurs(stats)) {
      throw new StepError('UNAUTHORIZED', `${file} is no plain file of this user`)
    }
    return await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
}
