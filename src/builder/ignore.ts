import { readFile } from 'node:fs/promises'
import { errorCodeOf, StepError } from '../core/errors.ts'

/** What a `.dockerignore` says. */
export interface IgnoreRules {
  /** Whether a path of the context, with `/` between its parts, is left out. */
  ignores(path: string): boolean
  /** Whether something below a folder that is left out may be taken all the same. */
  hasExceptions: boolean
}

export const IGNORE_FILE = '.dockerignore'

/**
 * Reads the first of these files that exists, as docker does:
 * https://docs.docker.com/build/concepts/context/#dockerignore-files
 */
export async function readIgnoreFile(paths: readonly string[]): Promise<IgnoreRules> {
  for (const path of paths) {
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if (errorCodeOf(error) === 'ENOENT') return undefined
      throw error
    })
    if (text !== undefined) return readIgnoreRules(text, path)
  }
  return { ignores: () => false, hasExceptions: false }
}

export async function readIgnoreRules(text: string, name: string): Promise<IgnoreRules> {
  const { default: dockerignore } = await import('@balena/dockerignore')
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  const rules = dockerignore({ ignorecase: false }).add(lines.map(escaped))
  try {
    // The patterns are compiled when they are first used.
    rules.ignores('a')
  } catch (error) {
    throw new StepError('INPUT_INVALID', `${name} has a pattern that cannot be read`, {
      hint: "A pattern is what Go's filepath.Match takes, with ** for any folders; see to brackets.",
      cause: error,
    })
  }
  return {
    ignores: (path) => rules.ignores(path),
    hasExceptions: lines.some((line) => line.trim().startsWith('!')),
  }
}

/** Docker takes these characters for themselves; the library would read them as of an expression. */
function escaped(line: string): string {
  return line.replace(/\\.|[+(){}|]/g, (part) => (part.length > 1 ? part : `\\${part}`))
}
