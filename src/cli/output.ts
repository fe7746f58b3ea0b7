import { StepError } from '../core/errors.ts'
import { createLog, type LogFormat, type LogOptions } from '../core/log.ts'
import { onOneLine, plainJson, withoutCommands, withoutControls } from '../core/plain-text.ts'
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
 * A text for people: what others wrote in it controls neither a terminal nor a runner, as in the log.
 * Secrets are taken out in between: a colour or a changed word would hide them.
 */
export function resultText(
  text: string,
  variables: Variables,
  mask: (text: string) => string = (plain) => plain,
): string {
  const plain = mask(withoutControls(text))
  return variables.GITHUB_ACTIONS === 'true' ? withoutCommands(plain) : plain
}

interface Told extends Pick<LogOptions, 'write' | 'mask'> {
  variables: Variables
}

/** For people in words; where the log is JSON, as one more record of it. */
export function tellFailure(
  failure: StepError,
  format: LogFormat | undefined,
  { write, mask, variables }: Told,
): void {
  const { message, hint } = failure
  if (format !== 'json') write(resultText(errorText(failure), variables, mask))
  else createLog({ format, write, mask }).error(hint ? `${message}\n${hint}` : message)
}

/** Something beside a failure that went wrong, too. */
export function tellBeside(
  text: string,
  format: LogFormat | undefined,
  { write, mask, variables }: Told,
): void {
  const plain = (line: string) => write(resultText(line, variables))
  if (format === 'json') createLog({ format, write, mask }).warn(text)
  else createLog({ format: 'plain', write: plain, mask }).warn(text)
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
  if (maskValue(text) === text) return plainJson(text)
  const masked = (_key: string, value: unknown) =>
    typeof value === 'string' ? maskValue(value) : value
  return plainJson(JSON.stringify(document, masked, 2))
}

/** `512 MiB`, `1.5 GiB` */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let [size, unit] = [bytes, 0]
  while (size >= 1024 && unit < units.length - 1) [size, unit] = [size / 1024, unit + 1]
  return `${size < 10 && unit > 0 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`
}

/**
 * Rows under headings, each column as wide as its widest cell. A row is one line, whatever a label or
 * another value from outside has in it.
 */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [headings, ...rows].map((row) => row.map(onOneLine))
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
