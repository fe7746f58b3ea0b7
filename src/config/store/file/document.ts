import { StepError } from '../../../core/errors.ts'

/** A file of keys that can be changed without touching what was not asked for. */
export interface KeyDocument {
  /** Value by full key. */
  entries: Map<string, string>
  set(key: string, value: string): void
  remove(key: string): void
  toString(): string
}

/** What is wrong with a file's text; the store puts the path before `:LINE: …` or `: …`. */
export function documentError(problem: string, line?: number): StepError {
  const place = line === undefined ? '' : `:${line}`
  return new StepError('INPUT_INVALID', `${place}: ${problem}`)
}
