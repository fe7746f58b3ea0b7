import { documentError, type KeyDocument } from './document.ts'

/** One logical line of a `.properties` file, with the text it was read from. */
interface Line {
  raw: string
  /** Absent for comments and blank lines. */
  entry?: { spelling: string; key: string; value: string }
}

/**
 * Reads the format of java.util.Properties, in UTF-8. A key `/webapi/db/url` is used as it is
 * written; `webapi.db.url` means the same key. A segment with a dot needs the first form.
 */
export function parseProperties(text: string): KeyDocument {
  const newline = /\r\n|\r|\n/.exec(text)?.[0] ?? '\n'
  const lines = readLines(text)
  const byKey = new Map<string, Line>()
  const spellings: string[] = []
  let number = 1
  for (const line of lines) {
    if (line.entry) {
      const { key } = line.entry
      if (byKey.has(key)) throw documentError(`key ${key} is written twice`, number)
      byKey.set(key, line)
      spellings.push(line.entry.spelling)
    }
    number += countNewlines(line.raw)
  }
  const slashes = spellings.length > 0 && spellings.every((spelling) => spelling.startsWith('/'))
  const document: KeyDocument = {
    entries: new Map([...byKey].map(([key, { entry }]) => [key, entry?.value ?? ''])),
    set(key, value) {
      const known = byKey.get(key)
      const spelling = known?.entry?.spelling ?? spell(key, slashes)
      const end = known === undefined ? newline : (/[\r\n]*$/.exec(known.raw)?.[0] ?? '')
      const raw = `${escapeKey(spelling)}=${escapeValue(value)}${end}`
      const line = { raw, entry: { spelling, key, value } }
      if (known) lines[lines.indexOf(known)] = line
      else {
        const last = lines.at(-1)
        if (last && !/[\r\n]$/.test(last.raw)) last.raw += newline
        lines.push(line)
      }
      byKey.set(key, line)
      document.entries.set(key, value)
    },
    remove(key) {
      const known = byKey.get(key)
      if (known) lines.splice(lines.indexOf(known), 1)
      byKey.delete(key)
      document.entries.delete(key)
    },
    toString: () => lines.map(({ raw }) => raw).join(''),
  }
  return document
}

function spell(key: string, slashes: boolean): string {
  return slashes || key.includes('.') ? key : key.slice(1).replaceAll('/', '.')
}

function countNewlines(text: string): number {
  return text.match(/\r\n|\r|\n/g)?.length ?? 0
}

function readLines(text: string): Line[] {
  const natural = text.match(/[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$/g) ?? []
  const lines: Line[] = []
  let number = 0
  for (let i = 0; i < natural.length; i++) {
    const start = natural[i] ?? ''
    number = i + 1
    let raw = start
    let logical = bare(start).replace(/^[ \t\f]+/, '')
    if (logical === '' || logical.startsWith('#') || logical.startsWith('!')) {
      lines.push({ raw })
      continue
    }
    while (continues(logical)) {
      const more = natural[++i] ?? ''
      raw += more
      logical = logical.slice(0, -1) + bare(more).replace(/^[ \t\f]+/, '')
      if (i >= natural.length) break
    }
    lines.push({ raw, entry: readEntry(logical, number) })
  }
  return lines
}

const bare = (line: string) => line.replace(/(?:\r\n|\r|\n)$/, '')

/** An odd number of backslashes at the end joins the next line. */
function continues(line: string): boolean {
  return (/\\+$/.exec(line)?.[0].length ?? 0) % 2 === 1
}

function readEntry(logical: string, number: number): NonNullable<Line['entry']> {
  let end = 0
  while (end < logical.length && !/[=: \t\f]/.test(logical[end] ?? '')) {
    end += logical[end] === '\\' ? 2 : 1
  }
  const rest = logical.slice(end)
  const separator = /^[ \t\f]*(?:[=:][ \t\f]*)?/.exec(rest)?.[0] ?? ''
  const spelling = unescapeText(logical.slice(0, end), number)
  const value = unescapeText(rest.slice(separator.length), number)
  const key = spelling.startsWith('/') ? spelling : `/${spelling.replaceAll('.', '/')}`
  return { spelling, key, value }
}

const letters: Record<string, string> = { t: '\t', n: '\n', r: '\r', f: '\f' }

function unescapeText(text: string, line: number): string {
  return text.replace(/\\(u[0-9a-fA-F]{4}|u|.|$)/gsu, (_all, code: string) => {
    if (code === 'u') throw documentError('\\u needs four hex digits', line)
    if (code.length === 5) return String.fromCharCode(Number.parseInt(code.slice(1), 16))
    return letters[code] ?? code
  })
}

const written: Record<string, string> = {
  '\\': '\\\\',
  '\t': '\\t',
  '\n': '\\n',
  '\r': '\\r',
  '\f': '\\f',
}

function escapeControls(text: string): string {
  return text
    .replace(/[\\\t\n\r\f]/g, (character) => written[character] ?? character)
    .replace(/[\p{Cc}\p{Zl}\p{Zp}\ufeff]/gu, unicode)
}

function unicode(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

function escapeKey(key: string): string {
  return escapeControls(key).replace(/[ =:]|^[#!]/g, '\\$&')
}

/** Spaces at either end are written as \u0020, so that they can be seen and survive editors. */
function escapeValue(value: string): string {
  return escapeControls(value).replace(/^ +| +$/g, (spaces) => '\\u0020'.repeat(spaces.length))
}
