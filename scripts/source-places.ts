import { readFileSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { dirname, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

// Node maps places by itself with --enable-source-maps, and reads the map of every library for it;
// only what a failed test printed is worth that.

const PLACE = /((?:file:\/\/)?\/?[^\s'"():]*\.cache\/compiled\/[^\s'"():]+\.mjs):(\d+):(\d+)/g
/** tap names them apart. */
const FIELDS =
  /(fileName: )(\S*\.cache\/compiled\/\S+\.mjs)(\n\s*lineNumber: )(\d+)(\n\s*columnNumber: )(\d+)/g

/** The text with each place in a compiled file replaced by that in its source. */
export function showSourcePlaces(text: string): string {
  const maps = new Map<string, SourceMap | undefined>()
  const find = (file: string, line: string, column: string) => {
    const path = file.startsWith('file://') ? fileURLToPath(file) : resolve(file)
    if (!maps.has(path)) maps.set(path, readMap(path))
    const entry = maps.get(path)?.findEntry(Number(line) - 1, Number(column) - 1)
    if (!entry || !('originalSource' in entry)) return { file, line, column }
    const source = relative(process.cwd(), resolve(dirname(path), entry.originalSource))
    return { file: source, line: entry.originalLine + 1, column: entry.originalColumn + 1 }
  }
  return text
    .replace(PLACE, (_all, ...place: [string, string, string]) => {
      const { file, line, column } = find(...place)
      return `${file}:${line}:${column}`
    })
    .replace(FIELDS, (_all, name, path, lineName, lineText, columnName, columnText) => {
      const { file, line, column } = find(path, lineText, columnText)
      return `${name}${file}${lineName}${line}${columnName}${column}`
    })
}

function readMap(path: string): SourceMap | undefined {
  try {
    const [, data = ''] =
      /sourceMappingURL=data:[^,]*;base64,(\S+)/.exec(readFileSync(path, 'utf8')) ?? []
    return new SourceMap(JSON.parse(Buffer.from(data, 'base64').toString()))
  } catch {
    return undefined
  }
}
