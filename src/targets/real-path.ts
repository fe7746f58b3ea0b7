import { posix } from 'node:path'
import { StepError } from '../core/errors.ts'

/** Where the link at a path leads; undefined for what is no link, or is not there. */
export type ReadLink = (path: string) => Promise<string | undefined>

/** Links that follow one another, as path_resolution(7) has it. */
const MOST_LINKS = 40

/**
 * An absolute path without links: each of its parts is looked at, the last one, too, and each of where
 * they lead. CONFLICT when links go round in a circle.
 */
export async function realPath(readLink: ReadLink, path: string): Promise<string> {
  let left = path.split('/').filter(Boolean)
  let real = '/'
  for (let links = 0; left.length > 0; ) {
    const [part = '', ...rest] = left
    const next = posix.join(real, part)
    const target = await readLink(next)
    if (target === undefined) {
      ;[real, left] = [next, rest]
      continue
    }
    links += 1
    if (links > MOST_LINKS) {
      throw new StepError('CONFLICT', `${path} leads through more than ${MOST_LINKS} links`, {
        hint: 'Give the path that they lead to.',
      })
    }
    ;[real, left] = ['/', [...posix.resolve(real, target).split('/').filter(Boolean), ...rest]]
  }
  return real
}
