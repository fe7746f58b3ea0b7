/** `java.lang.IllegalStateException: no database`, perhaps behind a logger's time and level. */
const EXCEPTION = /(?:[a-z_$][\w$]*\.)+[A-Z][\w$]*(?:Exception|Error|Failure|Throwable)\b.*/
/** At the start of its line: the causes of a suppressed exception are indented. */
const CAUSE = /^Caused by: (.+)/
const WITHIN = /^\s+(?:at |Suppressed: |Caused by: )/
const MOST_LENGTH = 300

/** The last exception in a Java program's log in one line; of several causes the first of all. */
export function lastException(lines: readonly string[]): string | undefined {
  const line = lines.findLast(
    (each) => !WITHIN.test(each) && (CAUSE.test(each) || EXCEPTION.test(each)),
  )
  if (line === undefined) return undefined
  const found = CAUSE.exec(line)?.[1] ?? EXCEPTION.exec(line)?.[0] ?? line
  return found.trim().slice(0, MOST_LENGTH)
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
