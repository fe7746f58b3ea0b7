import { lstat, readdir, realpath } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { StepError } from '../../core/errors.ts'
import { isBelow } from '../../core/git/checkout.ts'

/**
 * Refuses what a commit may not bring along: a link whose end is not in the repository would make a
 * file of the server a template, or a config, and git runs what a repository's settings name.
 */
export async function checkTree(root: string, path: string, app: string): Promise<void> {
  const real = await realpath(root)
  const folders = [real]
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const entries = await readdir(folder, { withFileTypes: true })
    if (isRepository(entries.map(({ name }) => name))) {
      throw isBare(relative(real, folder) || 'the root', app)
    }
    for (const entry of entries) {
      const place = join(folder, entry.name)
      if (entry.isDirectory() && entry.name !== '.git') folders.push(place)
      if (entry.isSymbolicLink()) await checkLink(place, real, app)
    }
  }
  const own = join(real, path)
  // Where there is no such folder, its file is missed.
  if (await lstat(own).catch(() => undefined)) await checkLink(own, real, app)
}

/** As git sees it: with `commondir` the others may be elsewhere. */
const isRepository = (names: readonly string[]) =>
  names.includes('HEAD') &&
  (names.includes('commondir') || (names.includes('objects') && names.includes('refs')))

const isBare = (folder: string, app: string) =>
  new StepError(
    'FORBIDDEN',
    `${folder} of ${app} is a repository itself, whose settings git reads`,
    {
      hint: 'Remove its HEAD on the protected branch, or pack the folder into an archive.',
    },
  )

/** By where its whole chain ends: each link of it may look harmless, and a parent may be one. */
async function checkLink(path: string, root: string, app: string): Promise<void> {
  const target = await realpath(path).catch(() => undefined)
  const within = target === undefined ? undefined : relative(root, target)
  const isInside = target !== undefined && isBelow(target, root)
  if (isInside && within !== undefined && !/^\.git(?:$|[\\/])/.test(within)) return
  const name = relative(root, path)
  const what = target === undefined ? 'leads nowhere' : 'is a link out of the repository'
  throw new StepError('FORBIDDEN', `${name} of ${app} ${what}`, {
    hint: `Replace it by a file on the protected branch, or correct applications.${app}.path.`,
  })
}
