import { Minimatch } from 'minimatch'
import { z } from 'zod'

/** A pattern for names of projects, refs and files: `*` stops at `/`, `**` does not. */
export const pattern = z
  .string()
  .min(1, 'is empty')
  .max(1000)
  .regex(/^(?!\/)/, 'begins with /, which no name does')

/** Whether a text matches one of the patterns. */
export function compilePatterns(
  patterns: readonly string[] | undefined,
): ((text: string) => boolean) | undefined {
  if (patterns === undefined) return undefined
  const compiled = patterns.map(
    (text) => new Minimatch(text, { dot: true, nocomment: true, nonegate: true, noext: true }),
  )
  return (text) => compiled.some((matcher) => matcher.match(text))
}
