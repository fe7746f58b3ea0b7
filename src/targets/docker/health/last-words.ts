import { withoutControls } from '../../../core/plain-text.ts'

/** Names joined by dots; each part of a text belongs to one of them at the most. */
const DOTTED = /[\w$]+(?:\.[\w$]+)*/g
const PACKAGE = /^[a-z_$]/
const THROWN = /^(?=[A-Z]).*(?:Exception|Error|Failure|Throwable)(?:\$|$)/
/** At the start of its line: the causes of a suppressed exception are indented. */
const CAUSE = /^Caused by: (.+)/
const WITHIN = /^\s+(?:at |Suppressed: |Caused by: )/
/** How far into a line an exception is looked for. */
const LOOKED_AT = 8 * 1024
const MOST_LENGTH = 300

/**
 * The last exception in a Java program's log in one line; of several causes the first of all. A
 * program decides how long its lines are: the time for this grows with their length, and not faster.
 * @param mask takes secrets out, before anything is cut
 */
export function lastException(
  lines: readonly string[],
  mask: (text: string) => string,
): string | undefined {
  const line = lines.findLast((each) => exceptionIn(each) !== undefined)
  if (line === undefined) return undefined
  const masked = mask(withoutControls(line))
  return (exceptionIn(masked) ?? masked).trim().slice(0, MOST_LENGTH)
}

function exceptionIn(line: string): string | undefined {
  const start = line.slice(0, LOOKED_AT)
  if (WITHIN.test(start)) return undefined
  return CAUSE.exec(start)?.[1] ?? thrownIn(start)
}

/** `java.lang.IllegalStateException: no database`, perhaps behind a logger's time and level. */
function thrownIn(text: string): string | undefined {
  for (const { 0: dotted, index } of text.matchAll(DOTTED)) {
    const names = dotted.split('.')
    const at = names.findIndex(
      (name, place) => place > 0 && THROWN.test(name) && PACKAGE.test(names[place - 1] ?? ''),
    )
    if (at < 0) continue
    const first = names.findLastIndex((name, place) => place < at && !PACKAGE.test(name)) + 1
    return text.slice(index + names.slice(0, first).join('.').length + (first > 0 ? 1 : 0))
  }
  return undefined
}

const SIGNALS: Readonly<Record<number, string>> = {
  129: 'SIGHUP',
  130: 'SIGINT',
  132: 'SIGILL',
  134: 'SIGABRT',
  135: 'SIGBUS',
  137: 'SIGKILL',
  139: 'SIGSEGV',
  143: 'SIGTERM',
}

/** `1`, or `143 (SIGTERM)`: a program ended by a signal has 128 and its number. */
export function exitText(code: number | undefined): string {
  if (code === undefined) return 'unknown'
  const signal = SIGNALS[code]
  return signal === undefined ? String(code) : `${code} (${signal})`
}
