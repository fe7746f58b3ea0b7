import { StepError, toStepError } from '../../core/errors.ts'
import { duration } from '../../core/settings/schema.ts'
import type { LogQuery } from '../../targets/target.ts'
import type { HostOptions } from './open.ts'
import type { linePrinter } from './print.ts'

export interface LogOptions extends HostOptions {
  follow?: boolean
  since?: string
  until?: string
  grep?: string
  lines?: string
  file?: string
}

/** What is asked for, checked. */
export interface LogRequest {
  query: LogQuery
  matches: ((line: string) => boolean) | undefined
  print: ReturnType<typeof linePrinter>
}

export function checkOptions({ follow, until, since, file }: LogOptions, json: boolean): void {
  const bad = (message: string, hint: string) => new StepError('INPUT_INVALID', message, { hint })
  if (file !== undefined && (follow || since !== undefined || until !== undefined)) {
    throw bad(
      '--file cannot be followed, nor asked for a time',
      'A file is read as it is now: use --lines and --grep.',
    )
  }
  if (!follow) return
  if (until !== undefined) throw bad('--follow has no end: --until is not for it', 'Leave one out.')
  if (json) {
    throw bad(
      '--follow has no end, and so no one JSON document',
      'Use `--log json`: a record a line.',
    )
  }
}

const LINES = 100
const MOST_LINES = 100_000

export function readQuery({ lines, since, until, file }: LogOptions, now: number): LogQuery {
  const isTime = since !== undefined || until !== undefined
  const byDefault = isTime && file === undefined ? undefined : LINES
  return {
    lines: lines === undefined ? byDefault : readLines(lines, MOST_LINES),
    since: since === undefined ? undefined : readTime('--since', since, now),
    until: until === undefined ? undefined : readTime('--until', until, now),
  }
}

export function readLines(text: string, most: number): number {
  const lines = Number(text)
  if (Number.isInteger(lines) && lines > 0 && lines <= most) return lines
  throw new StepError('INPUT_INVALID', `--lines "${text}" is not a number from 1 to ${most}`)
}

/** `10m`: so long ago; else a moment with its zone. */
function readTime(flag: string, text: string, now: number): string {
  const ago = duration.safeParse(text)
  if (ago.success) return new Date(now - ago.data).toISOString()
  const isMoment = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/.test(
    text,
  )
  const moment = isMoment ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(moment)) return new Date(moment).toISOString()
  throw new StepError('INPUT_INVALID', `${flag} "${text}" is no time`, {
    hint: 'Write how long ago (10m, 2h, 1d), or a moment: 2026-01-31T12:00:00Z.',
  })
}

export function readPattern(pattern: string | undefined): ((line: string) => boolean) | undefined {
  if (pattern === undefined) return undefined
  try {
    const expression = new RegExp(pattern)
    return (line) => expression.test(line)
  } catch (error) {
    throw new StepError('INPUT_INVALID', `--grep: ${toStepError(error).message}`, {
      hint: 'A plain text works, too; put a \\ before . * + ? ( ) [ ] { } | ^ $.',
    })
  }
}
