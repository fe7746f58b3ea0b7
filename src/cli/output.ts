import { StepError } from '../core/errors.ts'
import {
  createLog,
  type LogFormat,
  type LogOptions,
  withoutCommands,
  withoutControls,
} from '../core/log.ts'
import type { Secrets } from '../core/secrets.ts'
import { gitlabWording, inWords, jenkinsWording } from '../surface/wording.ts'

/** What a surface prints to: the two streams of a process, or a test's. */
export interface Streams {
  stdout(text: string): void
  stderr(text: string): void
}

type Variables = Readonly<Record<string, string | undefined>>

/** Our texts in the words of the surface that runs this command line: a job of GitLab, of Jenkins. */
export function wordFor(variables: Variables): (text: string) => string {
  if (variables.GITLAB_CI === 'true') return (text) => inWords(text, gitlabWording)
  if (variables.JENKINS_URL) return (text) => inWords(text, jenkinsWording)
  return (text) => text
}

/** A failure in a surface's words. */
export function inSurfaceWords(failure: StepError, word: (text: string) => string): StepError {
  const { code, message, hint, summary, retryable, cause } = failure
  return new StepError(code, word(message), {
    hint: hint && word(hint),
    summary: summary && word(summary),
    retryable,
    cause,
  })
}

/** An error for people: the fact first, then what to do. */
function errorText({ message, hint }: StepError): string {
  return `error: ${message}\n${hint ? `  → ${hint}\n` : ''}`
}

/**
 * A result for people: what others wrote in it controls neither a terminal nor a runner, as in the
 * log.
 */
export function resultText(text: string, variables: Variables): string {
  const plain = withoutControls(text)
  return variables.GITHUB_ACTIONS === 'true' ? withoutCommands(plain) : plain
}

/** For people in words; where the log is JSON, as one more record of it. */
export function tellFailure(
  failure: StepError,
  format: LogFormat | undefined,
  { write, mask }: Pick<LogOptions, 'write' | 'mask'>,
): void {
  const { message, hint } = failure
  if (format !== 'json') write(mask(errorText(failure)))
  else createLog({ format, write, mask }).error(hint ? `${message}\n${hint}` : message)
}

/** Something beside a failure that went wrong, too. */
export function tellBeside(
  text: string,
  format: LogFormat | undefined,
  { write, mask }: Pick<LogOptions, 'write' | 'mask'>,
): void {
  createLog({ format: format === 'json' ? 'json' : 'plain', write, mask }).warn(text)
}

/** A failure as a document; its texts are for people. */
export function errorJson(
  { code, message, hint, retryable }: StepError,
  { mask }: Pick<Secrets, 'mask'>,
): object {
  return { error: { code, message: mask(message), hint: hint && mask(hint), retryable } }
}

/** A document for programs: secrets are taken out of its texts, never out of its form. */
export function jsonText(document: unknown, { maskValue }: Pick<Secrets, 'maskValue'>): string {
  const text = JSON.stringify(document, null, 2)
  // Nearly always there is none: looking once is faster than at each text.
  if (maskValue(text) === text) return text
  const masked = (_key: string, value: unknown) =>
    typeof value === 'string' ? maskValue(value) : value
  return JSON.stringify(document, masked, 2)
}

/** `512 MiB`, `1.5 GiB` */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let [size, unit] = [bytes, 0]
  while (size >= 1024 && unit < units.length - 1) [size, unit] = [size / 1024, unit + 1]
  return `${size < 10 && unit > 0 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`
}

/** Rows under headings, each column as wide as its widest cell. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [headings, ...rows]
  const widths = headings.map((_, column) =>
    Math.max(...all.map((row) => width(row[column] ?? ''))),
  )
  return all
    .map((row) =>
      widths
        .map((size, column) => {
          const cell = row[column] ?? ''
          return cell + ' '.repeat(size - width(cell))
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Chinese and other wide characters take two columns. */
function width(text: string): number {
  return [...text].reduce(
    (sum, char) =>
      sum +
      (/[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]/.test(char)
        ? 2
        : 1),
    0,
  )
}
