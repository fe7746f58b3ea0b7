import { lstatSync, mkdirSync, mkdtempSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'

type Variables = Readonly<Record<string, string | undefined>>

/**
 * The user's home. A user that is missing in /etc/passwd, as in many containers, has none, or `/`,
 * which it may not write to.
 */
export function ownHome({ HOME }: Variables): string | undefined {
  const home = HOME || systemHome()
  return home && (home !== '/' || process.getuid?.() === 0) ? home : undefined
}

/** The user's home; without one, a folder of this user in the temporary folder. */
export function homeFolder(variables: Variables): string {
  const home = ownHome(variables)
  if (home !== undefined) return home
  const uid = process.getuid?.()
  const folder = join(tmpdir(), `crosscloud-${uid}`)
  return isOurs(folder, uid) ? folder : mkdtempSync(`${folder}-`)
}

/** Node throws when /etc/passwd does not list the user. */
function systemHome(): string | undefined {
  try {
    return homedir()
  } catch {
    return undefined
  }
}

/** Code is run from there: a folder that another user owns or may write to is never used. */
function isOurs(folder: string, uid: number | undefined): boolean {
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch {
    // It exists or cannot be made: lstat decides.
  }
  const found = lstatSync(folder, { throwIfNoEntry: false })
  return found?.isDirectory() === true && found.uid === uid && (found.mode & 0o077) === 0
}
