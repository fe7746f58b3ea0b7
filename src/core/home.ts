import { lstatSync, mkdirSync, mkdtempSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * The user's home. A container that runs as a user it does not know has none, or `/`, which that user
 * may not write to; a folder of its own in the temporary folder then takes its place.
 */
export function homeFolder({ HOME }: Readonly<Record<string, string | undefined>>): string {
  const uid = process.getuid?.()
  const home = HOME || knownHome()
  if (home && (home !== '/' || uid === 0)) return home
  const folder = join(tmpdir(), `crosscloud-${uid}`)
  return isOurs(folder, uid) ? folder : mkdtempSync(`${folder}-`)
}

/** Node fails where the system knows no such user. */
function knownHome(): string | undefined {
  try {
    return homedir()
  } catch {
    return undefined
  }
}

/** Code is run from there: a folder that another user made, or may write to, is never taken. */
function isOurs(folder: string, uid: number | undefined): boolean {
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch {
    // it is there, or cannot be made: looked at below
  }
  const found = lstatSync(folder, { throwIfNoEntry: false })
  return found?.isDirectory() === true && found.uid === uid && (found.mode & 0o077) === 0
}
