import { randomBytes } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { link, lstat, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errorCodeOf, StepError } from '../errors.ts'
import { stageFile } from './atomic-file.ts'

/** Only this user and root can have written it. */
function isOurs({ uid, mode }: Stats): boolean {
  const me = process.geteuid?.()
  return me === undefined || ((uid === me || uid === 0) && (mode & 0o022) === 0)
}

/** Refuses a folder that others own or may write to; a missing folder is accepted. */
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

/** The text of a plain file of this user; links and pipes are refused. */
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

/** 32 random bytes that only this user knows, kept in a file; made on first use. */
export async function ownSecret(file: string): Promise<Buffer> {
  await requireOwn(dirname(file))
  const known = await readSecret(file)
  if (known) return known
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const secret = randomBytes(32)
  const staged = await stageFile(file, secret.toString('hex'), { mode: 0o600 })
  try {
    // Two processes that make it at the same time both use the first.
    const first = await link(staged, file).then(
      () => secret,
      () => readSecret(file),
    )
    if (first) return first
    await rename(staged, file)
    return secret
  } finally {
    await rm(staged, { force: true })
  }
}

/** Undefined when it is missing, truncated, or readable by others. */
async function readSecret(file: string): Promise<Buffer | undefined> {
  const text = await readOwn(file).catch(() => '')
  const mode = await lstat(file).then(
    (found) => found.mode,
    () => 0o777,
  )
  return /^[0-9a-f]{64}$/.test(text) && (mode & 0o077) === 0 ? Buffer.from(text, 'hex') : undefined
}
