import type * as Yaml from 'yaml'
import { documentError, type KeyDocument } from './document.ts'
import { type Replaced, scalarOf, splice } from './yaml-text.ts'

type Node = Yaml.Scalar | Yaml.YAMLMap | Yaml.YAMLSeq
type Container = Yaml.YAMLMap | Yaml.YAMLSeq

/** The place of a key's value in the tree. */
interface Place {
  container: Container
  /** The map's key as it is written, or the index in the list. */
  at: string | number
}

const DEEPEST = 64

/**
 * Reads YAML or JSON as a tree of texts: nested maps make `/a/b/c`, lists `/a/0`; a name may
 * contain slashes (`/webapi/db: …`). Scalars stay as they are written: 007, 1.10, yes, 1e7. Changes
 * keep the comments of YAML. Anchors, tags and merge keys are refused, and so is JSON's null.
 */
export function parseTree(yaml: typeof Yaml, text: string, json: boolean): KeyDocument {
  const document = parseStrictly(yaml, text, json)
  let places = new Map<string, Place>()
  /** New values of existing scalars; if nothing else changes, only their bytes are replaced. */
  const replaced: Replaced[] = []
  let reshaped = false
  const index = (): Map<string, string> => {
    places = new Map()
    return readTree(yaml, document, places, json)
  }
  const result: KeyDocument = {
    entries: index(),
    set(key, value) {
      const place = places.get(key)
      const old = place && setScalar(yaml, place, value)
      if (old) replaced.push({ ...old, value })
      else reshaped = true
      if (!place) {
        places.set(key, addKey(yaml, document.contents as Yaml.YAMLMap, key, value))
      }
      result.entries.set(key, value)
    },
    remove(key) {
      removeKey(yaml, document, places.get(key))
      reshaped = true
      result.entries = index()
    },
    toString() {
      if (json) return `${printJson(yaml, document.contents, indentOf(text))}\n`
      if (!reshaped) return splice(yaml, text, replaced)
      const flowCollectionPadding = !/[[{]\S/.test(text)
      return document.toString({ lineWidth: 0, indent: indentOf(text), flowCollectionPadding })
    },
  }
  return result
}

/** The indentation of the first nested line. */
function indentOf(text: string): number {
  return Math.min(8, Math.max(1, /^( +)[^\s#-]/m.exec(text)?.[1]?.length ?? 2))
}

function parseStrictly(yaml: typeof Yaml, text: string, json: boolean): Yaml.Document {
  const empty = text.trim() === ''
  if (json && !empty) {
    try {
      JSON.parse(text)
    } catch (error) {
      const at = Number(/position (\d+)/.exec((error as Error).message)?.[1] ?? text.length)
      throw documentError('not JSON', text.slice(0, at).split('\n').length)
    }
  }
  const lines = new yaml.LineCounter()
  const document = yaml.parseDocument(json && empty ? '{}' : text, {
    schema: 'failsafe',
    lineCounter: lines,
    prettyErrors: false,
    strict: !json,
  })
  const [problem] = [...document.errors, ...document.warnings]
  if (problem) {
    const line = lines.linePos(problem.pos[0]).line
    throw documentError(problem.code.toLowerCase().replaceAll('_', ' '), line)
  }
  const { contents } = document
  const nothing = contents === null || (yaml.isScalar(contents) && contents.value === '')
  if (nothing) {
    const map = new yaml.YAMLMap()
    if (contents?.commentBefore) map.commentBefore = contents.commentBefore
    document.contents = map as never
  } else if (!yaml.isMap(contents)) throw documentError('the file must hold a map of keys', 1)
  return document as Yaml.Document
}

function readTree(
  yaml: typeof Yaml,
  document: Yaml.Document,
  places: Map<string, Place>,
  json: boolean,
): Map<string, string> {
  const entries = new Map<string, string>()
  const visit = (node: unknown, path: string, place: Place | undefined, depth: number): void => {
    if (depth > DEEPEST) throw documentError(`${path}: nested more than ${DEEPEST} deep`)
    if (yaml.isAlias(node)) throw documentError(`${path}: aliases are not read; write the value`)
    if (yaml.isMap(node)) {
      for (const pair of node.items) {
        const name = scalarText(yaml, pair.key, path)
        const merges =
          !json && name === '<<' && yaml.isScalar(pair.key) && pair.key.type === 'PLAIN'
        if (merges) throw documentError(`${path || '/'}: merge keys are not read; write the values`)
        const tail = path === '' ? name.replace(/^\//, '') : name
        visit(pair.value, `${path}/${tail}`, { container: node, at: name }, depth + 1)
      }
    } else if (yaml.isSeq(node)) {
      for (const [i, item] of node.items.entries()) {
        visit(item, `${path}/${i}`, { container: node, at: i }, depth + 1)
      }
    } else if (place) {
      if (entries.has(path)) throw documentError(`key ${path} is written twice`)
      const isNull = json && yaml.isScalar(node) && node.type === 'PLAIN' && node.value === 'null'
      if (isNull) throw documentError(`key ${path} is null; write "" or leave it out`)
      entries.set(path, node === null ? '' : scalarText(yaml, node, path))
      places.set(path, place)
    }
  }
  visit(document.contents, '', undefined, 0)
  return entries
}

function scalarText(yaml: typeof Yaml, node: unknown, path: string): string {
  if (typeof node === 'string') return node
  if (node === null) return ''
  if (yaml.isScalar(node) && typeof node.value === 'string' && !node.anchor) return node.value
  throw documentError(`${path || '/'}: only texts, maps and lists are read here`)
}

/**
 * Changes a value; returns the place of the old scalar in the text, unless it is a block scalar.
 */
function setScalar(
  yaml: typeof Yaml,
  { container, at }: Place,
  value: string,
): Omit<Replaced, 'value'> | undefined {
  const items: unknown[] = container.items
  const slot = yaml.isSeq(container)
    ? Number(at)
    : items.findIndex((item) => isNamed(yaml, item, at))
  const pair = items[slot]
  const old = yaml.isPair(pair) ? pair.value : pair
  const scalar = scalarOf(yaml, value)
  if (yaml.isScalar(old)) {
    if (old.comment) scalar.comment = old.comment
    if (old.commentBefore) scalar.commentBefore = old.commentBefore
    if (old.spaceBefore) scalar.spaceBefore = old.spaceBefore
    const quoted = old.type === 'QUOTE_DOUBLE' || old.type === 'QUOTE_SINGLE'
    if (quoted && old.type && scalar.type === undefined) scalar.type = old.type
  }
  if (yaml.isPair(pair)) pair.value = scalar
  else items[slot] = scalar
  if (!yaml.isScalar(old) || !old.range || old.type?.startsWith('BLOCK')) return undefined
  const [start, end] = old.range
  return { start, end, quoted: old.type !== 'PLAIN' }
}

function nameOf(yaml: typeof Yaml, key: unknown): string {
  return yaml.isScalar(key) ? String(key.value) : String(key)
}

function isNamed(yaml: typeof Yaml, item: unknown, name: string | number): boolean {
  return yaml.isPair(item) && nameOf(yaml, item.key) === name
}

/**
 * Descends as far as maps (or the end of a list) exist and nests the rest there. If a value is in
 * the way, or the file writes its keys flat, the whole key becomes a single name at the top.
 */
function addKey(yaml: typeof Yaml, root: Yaml.YAMLMap, key: string, value: string): Place {
  const bareName = (name: unknown) => nameOf(yaml, name).replace(/^\//, '')
  const scalar = scalarOf(yaml, value)
  const flat =
    root.items.length > 0 && root.items.every(({ key: name }) => nameOf(yaml, name).startsWith('/'))
  let here = root
  let rest = key.slice(1)
  for (;;) {
    const next = here.items.find(
      (pair) => !yaml.isScalar(pair.value) && rest.startsWith(`${bareName(pair.key)}/`),
    )
    if (next === undefined) break
    const below = rest.slice(bareName(next.key).length + 1)
    if (yaml.isSeq(next.value) && below === String(next.value.items.length)) {
      next.value.items.push(scalar)
      return { container: next.value, at: next.value.items.length - 1 }
    }
    if (!yaml.isMap(next.value)) break
    here = next.value
    rest = below
  }
  const [first = '', ...more] = rest.split('/')
  const taken = here.items.some((pair) => bareName(pair.key) === first)
  if (taken || (here === root && flat)) {
    const spelling = root.items.some((pair) => isNamed(yaml, pair, key)) ? key.slice(1) : key
    return addPair(yaml, root, spelling, scalar)
  }
  let name = first
  for (const segment of more) {
    const map = new yaml.YAMLMap()
    addPair(yaml, here, name, map)
    here = map
    name = segment
  }
  return addPair(yaml, here, name, scalar)
}

function addPair(yaml: typeof Yaml, map: Yaml.YAMLMap, name: string, value: Node): Place {
  map.items.push(new yaml.Pair(scalarOf(yaml, name), value))
  return { container: map, at: name }
}

/**
 * Removes a key and the maps that become empty. A list becomes a map when other items would move.
 */
function removeKey(yaml: typeof Yaml, document: Yaml.Document, place: Place | undefined): void {
  if (place === undefined) return
  const { container, at } = place
  if (yaml.isSeq(container) && at !== container.items.length - 1) {
    const map = new yaml.YAMLMap()
    for (const [i, item] of container.items.entries()) {
      if (i !== at) map.items.push(new yaml.Pair(scalarOf(yaml, String(i)), item))
    }
    replaceNode(yaml, document, container, map)
    return
  }
  const items: unknown[] = container.items
  const slot = yaml.isSeq(container)
    ? Number(at)
    : items.findIndex((item) => isNamed(yaml, item, at))
  if (slot >= 0) items.splice(slot, 1)
  if (container.items.length === 0 && container !== document.contents) {
    replaceNode(yaml, document, container, undefined)
  }
}

function replaceNode(
  yaml: typeof Yaml,
  document: Yaml.Document,
  old: Container,
  now: Container | undefined,
): void {
  let emptied: Container | undefined
  yaml.visit(document, {
    Collection(_key, node) {
      if (!yaml.isMap(node) && !yaml.isSeq(node)) return undefined
      const items = node.items as unknown[]
      const at = items.findIndex(
        (item) => item === old || (yaml.isPair(item) && item.value === old),
      )
      if (at < 0) return undefined
      const item = items[at]
      if (yaml.isPair(item) && now) item.value = now
      else if (now) items[at] = now
      else if (yaml.isMap(node)) items.splice(at, 1)
      else return yaml.visit.BREAK
      if (items.length === 0 && node !== document.contents) emptied = node
      return yaml.visit.BREAK
    },
  })
  if (emptied) replaceNode(yaml, document, emptied, undefined)
}

/** Prints JSON with unchanged scalars as they were written: numbers keep their digits. */
function printJson(yaml: typeof Yaml, node: unknown, indent: number, depth = 1): string {
  const gap = `\n${' '.repeat(indent * depth)}`
  const end = `\n${' '.repeat(indent * (depth - 1))}`
  if (yaml.isMap(node)) {
    const items = node.items.map(
      ({ key, value }) =>
        `${JSON.stringify(nameOf(yaml, key))}: ${printJson(yaml, value, indent, depth + 1)}`,
    )
    return items.length === 0 ? '{}' : `{${gap}${items.join(`,${gap}`)}${end}}`
  }
  if (yaml.isSeq(node)) {
    const items = node.items.map((item) => printJson(yaml, item, indent, depth + 1))
    return items.length === 0 ? '[]' : `[${gap}${items.join(`,${gap}`)}${end}]`
  }
  if (yaml.isScalar(node)) {
    const asWritten = node.type === 'PLAIN' && node.source !== undefined
    return asWritten ? String(node.source) : JSON.stringify(node.value)
  }
  return '""'
}
