import { StepError } from '../../core/errors.ts'

/** Applications and environments: they become container names, tags and keys as well. */
const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/
/** What a tag may be (OCI distribution-spec, "Pulling manifests"), and semver's `+`. */
const VERSION = /^[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}$/
/** A lock of more than a week is a mistake in the unit. */
const LONGEST_LOCK = 7 * 24 * 3600 * 1000
const MOST_ROWS = 10_000

export function checkName(kind: 'application' | 'environment' | 'API token', name: string): void {
  if (typeof name === 'string' && NAME.test(name)) return
  throw new StepError('INPUT_INVALID', `"${printable(name)}" is no name for an ${kind}`, {
    hint: 'Use up to 63 of a-z, 0-9, dot, dash and underscore; begin with a letter or a digit.',
  })
}

export function checkVersion(version: string): void {
  if (typeof version === 'string' && VERSION.test(version)) return
  throw new StepError('INPUT_INVALID', `"${printable(version)}" is not a version`, {
    hint: 'Use up to 128 letters, digits, dots, dashes, underscores and plus signs, as in 1.4.2.',
  })
}

/**
 * Texts are kept as they are, whatever they look like. Only what one of the databases would cut
 * or change is refused: a NUL character, and more than `longest` characters.
 */
export function checkText(what: string, text: string | undefined, longest = Infinity): void {
  if (text === undefined) return
  const problem =
    typeof text !== 'string'
      ? 'is not a text'
      : text.includes('\0')
        ? 'has a NUL character'
        : text.length > longest
          ? `has ${text.length} characters, at most ${longest} are kept`
          : undefined
  if (problem) throw invalid(`${what} ${problem}`)
}

/** As `checkText`; an empty text is refused too. */
export function checkFilled(what: string, text: string, longest = Infinity): void {
  checkText(what, text, longest)
  if (!text) throw invalid(`${what} is empty`)
}

/** The lock's length in milliseconds. */
export function checkTtl(ttl: number): void {
  if (ttl > 0 && ttl <= LONGEST_LOCK) return
  throw invalid(`a lock of ${ttl} milliseconds: it must be more than 0 and at most 7 days`)
}

export function checkLimit(limit: number): void {
  if (Number.isInteger(limit) && limit > 0 && limit <= MOST_ROWS) return
  throw invalid(`limit ${limit}: it must be a whole number from 1 to ${MOST_ROWS}`)
}

/** A moment as the ledger keeps it: such texts sort by time. */
export function checkTime(what: string, time: string): void {
  const milliseconds = Date.parse(time)
  if (!Number.isNaN(milliseconds) && new Date(milliseconds).toISOString() === time) return
  throw invalid(`${what} "${printable(time)}" is not like 2026-01-31T12:00:00.000Z`)
}

/** A size or a duration. */
export function checkAmount(what: string, amount: number): void {
  if (Number.isSafeInteger(amount) && amount >= 0) return
  throw invalid(`${what} ${amount}: it must be a whole number, 0 or more`)
}

export function invalid(message: string): StepError {
  return new StepError('INPUT_INVALID', message)
}

function printable(text: unknown): string {
  return JSON.stringify(String(text)).slice(1, -1).slice(0, 80)
}

/** A release in an environment. */
export function checkPlace(app: string, environment: string, version: string): void {
  checkName('application', app)
  checkName('environment', environment)
  checkVersion(version)
}
