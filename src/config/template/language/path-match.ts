import { StepError } from '../../../core/errors.ts'

/** A position in a pattern: which code points match there. */
type Place = (codePoint: number) => boolean

/** A part between stars. `star`: any text without `/` may come before it. */
interface Chunk {
  star: boolean
  places: Place[]
}

const SLASH = 0x2f
const code = (character: string) => character.codePointAt(0) ?? 0

/**
 * Go's path.Match (https://pkg.go.dev/path#Match): `*` and `?` stop at `/`; `[a-z]`, `[^x]`, `\c`.
 * The pattern must match the whole name. A malformed pattern is INPUT_INVALID.
 */
export function compilePathMatch(pattern: string): (name: string) => boolean {
  const chunks = parse(pattern)
  // A fast check: most names differ before the first special character.
  const head = pattern.slice(0, Math.max(0, pattern.search(/[*?[\\]|$/)))
  return (name) => name.startsWith(head) && matches(chunks, Array.from(name, code))
}

function matches(chunks: readonly Chunk[], name: readonly number[]): boolean {
  let at = 0
  for (const [index, { star, places }] of chunks.entries()) {
    const last = index === chunks.length - 1
    // A star takes the first fit, unless the pattern must reach the end.
    for (let start = at; ; start++) {
      const fits = places.every((place, i) => {
        const here = name[start + i]
        return here !== undefined && place(here)
      })
      const end = start + places.length
      if (fits && (!last || end === name.length)) {
        at = end
        break
      }
      const skipped = name[start]
      if (!star || skipped === undefined || skipped === SLASH) return false
    }
  }
  return at === name.length
}

function parse(pattern: string): Chunk[] {
  const text = Array.from(pattern)
  const chunks: Chunk[] = []
  let chunk: Chunk = { star: false, places: [] }
  let at = 0
  const bad = () =>
    new StepError('INPUT_INVALID', `pattern "${pattern}" is malformed`, {
      hint: 'Use * ? [a-z] [^x], and \\ before a character that stands for itself.',
    })

  /** One end of a range: a character, perhaps escaped; `]` must still follow somewhere. */
  const rangeEnd = (): number => {
    let character = text[at]
    if (character === undefined || character === '-' || character === ']') throw bad()
    if (character === '\\') character = text[++at]
    at++
    if (character === undefined || at >= text.length) throw bad()
    return code(character)
  }

  const characterClass = (): Place => {
    const negated = text[at] === '^'
    if (negated) at++
    const ranges: [number, number][] = []
    while (text[at] !== ']' || ranges.length === 0) {
      const low = rangeEnd()
      if (text[at] === '-') {
        at++
        ranges.push([low, rangeEnd()])
      } else ranges.push([low, low])
    }
    at++
    return (c) => ranges.some(([low, high]) => low <= c && c <= high) !== negated
  }

  while (at < text.length) {
    const character = text[at++]
    if (character === '*') {
      if (chunk.star || chunk.places.length > 0) {
        if (chunk.places.length === 0) continue
        chunks.push(chunk)
      }
      chunk = { star: true, places: [] }
    } else if (character === '?') chunk.places.push((c) => c !== SLASH)
    else if (character === '[') chunk.places.push(characterClass())
    else {
      const literal = character === '\\' ? text[at++] : character
      if (literal === undefined) throw bad()
      const wanted = code(literal)
      chunk.places.push((c) => c === wanted)
    }
  }
  return [...chunks, chunk]
}
