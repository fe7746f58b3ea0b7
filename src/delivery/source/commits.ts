import { isStepError } from '../../core/errors.ts'
import { readWithGit } from '../../core/git/git.ts'
import type { Context } from '../context.ts'

export interface Commit {
  id: string
  /** As git shortens it in this checkout. */
  short: string
  author: string
  /** ISO 8601, with the author's own offset. */
  at: string
  subject: string
}

/** As git knows a commit; nothing else reaches its command line. */
export const COMMIT = /^[0-9a-f]{7,64}$/

const FIELDS = ['%H', '%h', '%an', '%aI', '%s']

/** The commits of `to` that `from` lacks, newest first; undefined where this checkout lacks one. */
export async function commitsBetween(
  from: string,
  to: string,
  { cwd, signal }: Pick<Context, 'cwd' | 'signal'>,
): Promise<Commit[] | undefined> {
  const format = `--format=${FIELDS.join('%x00')}`
  try {
    const args = ['log', '-z', '--no-decorate', format, `${from}..${to}`, '--']
    const { stdout } = await readWithGit(args, { cwd, signal })
    const texts = stdout.split('\0')
    return Array.from({ length: Math.floor(texts.length / FIELDS.length) }, (_, index) => {
      const fields = texts.slice(index * FIELDS.length, (index + 1) * FIELDS.length)
      const [id = '', short = '', author = '', at = '', subject = ''] = fields
      return { id, short, author, at, subject }
    })
  } catch (error) {
    if (isStepError(error, 'CANCELLED')) throw error
    return undefined
  }
}
