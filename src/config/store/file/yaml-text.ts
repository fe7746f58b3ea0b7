import type * as Yaml from 'yaml'

/** A value that replaces the text from `start` to `end`. */
export interface Replaced {
  start: number
  end: number
  /** The old text had quotes, so the new text has quotes. */
  quoted: boolean
  value: string
}

/** The text with single values replaced; every other byte stays. */
export function splice(yaml: typeof Yaml, text: string, replaced: readonly Replaced[]): string {
  let result = text
  for (const { start, end, quoted, value } of replaced.toSorted((a, b) => b.start - a.start)) {
    const quotes = quoted || /[,[\]{}\n]/.test(value) || scalarOf(yaml, value).type !== undefined
    const gap = start === end && /\S/.test(text[start - 1] ?? ' ') ? ' ' : ''
    const written = gap + (quotes ? doubleQuoted(value) : value)
    result = result.slice(0, start) + written + result.slice(end)
  }
  return result
}

/** JSON's escapes are valid in YAML; characters that YAML does not allow are escaped as well. */
function doubleQuoted(value: string): string {
  return JSON.stringify(value).replace(
    /[\p{Cc}\p{Zl}\p{Zp}\ufeff\ufffe\uffff]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** A value that YAML 1.1 or 1.2 would not read as the same text gets quotes. */
export function scalarOf(yaml: typeof Yaml, value: string): Yaml.Scalar {
  const scalar = new yaml.Scalar(value)
  const plain = /^[\p{L}/_][\p{L}\p{N}/_.-]*$/u.test(value)
  const loose = /^(?:y|n|yes|no|on|off|true|false|null|\.nan)$/i.test(value)
  const block = /^[^\s\p{Cc}][^\p{Cc}]*(?:\n[^\p{Cc}]*)+$/u.test(value)
  if (!block && (!plain || loose) && !readsAsText(yaml, value)) scalar.type = 'QUOTE_DOUBLE'
  return scalar
}

function readsAsText(yaml: typeof Yaml, value: string): boolean {
  if (/^(?:y|n|yes|no|on|off|<<)$/i.test(value) || /[\p{Cc}\p{Zl}\p{Zp}\ufeff]/u.test(value))
    return false
  const document = yaml.parseDocument(value, { logLevel: 'silent' })
  if (document.errors.length > 0 || document.warnings.length > 0) return false
  return yaml.isScalar(document.contents) && document.contents.value === value
}
