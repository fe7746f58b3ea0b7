import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
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
    const content = await readOwnFile(path)
    if (content !== undefined) return readIgnoreRules(content.toString(), path)
  }
  return { ignores: () => false, hasExceptions: false }
}

/**
 * A file of the context itself; undefined when there is none. Whoever pushes a link would have a file
 * of this machine sent to the engine: INPUT_INVALID.
 */
export async function readOwnFile(path: string): Promise<Buffer | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const file = await open(path, flags).catch((error: unknown) => {
    const code = errorCodeOf(error)
    if (code === 'ENOENT') return undefined
    throw code === 'ELOOP' ? notOwn(path, 'a symbolic link', error) : error
  })
  try {
    if (file && !(await file.stat()).isFile()) throw notOwn(path, 'no plain file')
    return await file?.readFile()
  } finally {
    await file?.close()
  }
}

function notOwn(path: string, what: string, cause?: unknown): StepError {
  return new StepError('INPUT_INVALID', `${path} is ${what}`, {
    hint: 'Put the file itself there.',
    cause,
  })
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
