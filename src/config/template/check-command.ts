import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, errorCodeOf, isStepError, StepError } from '../../core/errors.ts'
import { run } from '../../core/process/process.ts'
import type { ConfigTemplate } from './resources.ts'
import { type FileToWrite, writeFiles } from './write-files.ts'

const TIMEOUT = 10_000
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** The results of the check commands of a set of templates. */
export interface CheckResult {
  /** Destinations whose check passed. */
  passed: string[]
  /** Why a check was not made, a line each. */
  skipped: string[]
}

/**
 * Runs each template's `check_cmd` on the rendered files, staged in a private folder that is
 * removed afterwards. `{{.src}}` is the staged file. No shell, a clean environment, ten seconds.
 * What fails is INPUT_INVALID, all at once; a check whose program is missing is skipped and
 * reported.
 */
export async function runCheckCommands(
  templates: readonly ConfigTemplate[],
  files: readonly FileToWrite[],
  options: { mask(text: string): string; signal?: AbortSignal },
): Promise<CheckResult> {
  const checked = templates.flatMap(({ checkCmd, dest, resource }) =>
    checkCmd === undefined ? [] : [{ dest, resource, argv: parseCommand(checkCmd, resource) }],
  )
  const result: CheckResult = { passed: [], skipped: [] }
  if (checked.length === 0) return result
  const folder = await mkdtemp(join(tmpdir(), 'crosscloud-check-'))
  const problems: string[] = []
  try {
    await writeFiles(folder, files, options.signal)
    for (const { dest, resource, argv } of checked) {
      const [program = '', ...args] = argv.map((word) => word.replace(SOURCE, join(folder, dest)))
      try {
        const env = { PATH, LC_ALL: 'C.UTF-8' }
        const { signal } = options
        await run(program, args, { cwd: folder, env, cleanEnv: true, timeout: TIMEOUT, signal })
        result.passed.push(dest)
      } catch (error) {
        if (isStepError(error, 'CANCELLED')) throw error
        if (isMissing(error)) result.skipped.push(`${resource}: ${program} is not on this machine`)
        else problems.push(`${resource}: check_cmd: ${options.mask(describe(error))}`)
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  if (problems.length === 0) return result
  throw new StepError('INPUT_INVALID', problems.join('\n'), {
    hint: 'The rendered file was refused by its own check. Correct the values or the template.',
  })
}

const SOURCE = /\{\{\s*\.?src\s*\}\}/g

function isMissing(error: unknown): boolean {
  return isStepError(error, 'NOT_FOUND') || errorCodeOf((error as Error).cause) === 'ENOENT'
}

/** Words as a shell reads them, with quotes, and nothing else of a shell. */
export function parseCommand(text: string, resource: string): string[] {
  const words: string[] = []
  const word =
    /\s*(?:((?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|\{\{[^}]*\}\}|[^\s"'\\|&;<>()$`*?[\]#~])+)|$)/suy
  while (word.lastIndex < text.length) {
    const at = word.lastIndex
    const match = word.exec(text)
    if (!match) {
      const sign = text.slice(at).trim()[0] ?? ''
      throw new StepError('INPUT_INVALID', `${resource}: check_cmd: "${sign}" wants a shell`, {
        hint: 'check_cmd is run without a shell. Put the command into a script, and name that.',
      })
    }
    if (match[1] !== undefined) words.push(unquote(match[1]))
  }
  if (words.length > 0) return words
  throw new StepError('INPUT_INVALID', `${resource}: check_cmd is empty`)
}

function unquote(word: string): string {
  return word.replace(
    /"((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)/gsu,
    (_, double: string | undefined, single: string | undefined, escaped: string | undefined) =>
      double?.replace(/\\(["\\$`])/g, '$1') ?? single ?? escaped ?? '',
  )
}
