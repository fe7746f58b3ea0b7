import {
  type BlockNode,
  calledName,
  type Expression,
  type PartialNode,
  type ProgramNode,
  partialName,
  type Statement,
} from './ast.ts'
import { PRINT_CALL } from './syntax.ts'
import { templateError } from './values.ts'

/** A constant key that a template requires: it has no default. */
export interface Requirement {
  /** As the template writes it, without the resource's prefix. */
  key: string
  /** The template, or its partial, with the call. */
  file: string
  line: number
  /** Inside a block that another value may switch off. */
  conditional: boolean
}

/** The constant keys, patterns, partials and names in a file; plain JSON. */
export interface Needs {
  keys: { key: string; line: number; conditional: boolean }[]
  /** Partials by file; `known` are keys that certainly exist where it is included. */
  includes: { file: string; conditional: boolean; known: string[] }[]
  /** Of `gets`, `getvs`, `ls` and `lsdir`, unless the template handles an empty result. */
  patterns: { pattern: string; line: number }[]
  /** `["lookupIP", "db.example.com"]`; SRV records have service, protocol and name. */
  lookups: { query: string[]; line: number }[]
}

interface Walk {
  needs: Needs
  conditional: boolean
  /** Keys known to exist here, because of an enclosing `exists`. */
  known: ReadonlySet<string>
  /** An empty list is handled here: it is a condition, or there is an else. */
  mayBeEmpty: boolean
}

/** The most ways to reach a partial that are examined; nested partials multiply them. */
const MOST_WAYS = 10_000

const listing = new Set(['gets', 'getvs', 'ls', 'lsdir'])

/** Reads a tree that has passed checkAndRewrite. */
export function needsOf(program: ProgramNode): Needs {
  const needs: Needs = { keys: [], includes: [], patterns: [], lookups: [] }
  inProgram(program, { needs, conditional: false, known: new Set(), mayBeEmpty: false })
  return needs
}

/**
 * The keys a template needs, its partials included. `{{#if (exists "/a")}}{{getv "/a"}}{{/if}}`
 * needs none; a key in a block is needed if the block is taken, so it is marked `conditional`.
 */
export function requirementsOf(
  template: string,
  needsOfFile: (file: string) => Needs | undefined,
): Requirement[] {
  const found: Requirement[] = []
  const seen = new Set<string>()
  const visit = (file: string, outer: boolean, around: readonly string[]): void => {
    // The same file in the same context has the same requirements, however often it is included.
    const id = JSON.stringify([file, outer, around])
    const needs = needsOfFile(file)
    if (needs === undefined || seen.has(id)) return
    seen.add(id)
    if (seen.size > MOST_WAYS)
      throw templateError(`${template}: partials are included in too many ways`)
    for (const { key, line, conditional } of needs.keys) {
      if (!around.includes(key)) {
        found.push({ key, file, line, conditional: conditional || outer })
      }
    }
    for (const { file: partial, conditional, known } of needs.includes) {
      visit(partial, conditional || outer, [...new Set([...around, ...known])].sort())
    }
  }
  visit(template, false, [])
  return found
}

function inProgram(node: ProgramNode | undefined, walk: Walk): void {
  for (const statement of node?.body ?? []) inStatement(statement, walk)
}
function inStatement(node: Statement, walk: Walk): void {
  if (node.type === 'MustacheStatement') inExpression({ ...node, type: 'SubExpression' }, walk)
  else if (node.type === 'BlockStatement') inBlock(node, walk)
  else if (node.type === 'PartialStatement') inPartial(node, walk)
}
function inBlock(node: BlockNode, walk: Walk): void {
  const name = calledName(node)
  const decides = name === 'if' || name === 'unless'
  const heading = decides || node.inverse !== undefined ? { ...walk, mayBeEmpty: true } : walk
  for (const param of node.params) inExpression(param, heading)
  if (name === 'raw') return
  const condition = name === 'unless' ? negate(node.params[0]) : node.params[0]
  inProgram(node.program, inside(walk, condition, true))
  inProgram(node.inverse, inside(walk, condition, false))
}
function inPartial(node: PartialNode, walk: Walk): void {
  for (const param of node.params) inExpression(param, walk)
  for (const pair of node.hash?.pairs ?? []) inExpression(pair.value, walk)
  const file = partialName(node)
  if (file === undefined) return
  walk.needs.includes.push({ file, conditional: walk.conditional, known: [...walk.known] })
}
function inExpression(node: Expression, walk: Walk): void {
  if (node.type !== 'SubExpression') return
  const name = calledName(node)?.replace(PRINT_CALL, '')
  const key = constantKey(node.params[0])
  const { line } = node.loc.start
  const requires = name === 'get' || (name === 'getv' && node.params.length === 1)
  if (requires && key !== undefined && !walk.known.has(key)) {
    walk.needs.keys.push({ key, line, conditional: walk.conditional })
  }
  if (name !== undefined && listing.has(name) && key !== undefined && !walk.mayBeEmpty) {
    walk.needs.patterns.push({ pattern: key, line })
  }
  if (name?.startsWith('lookup')) {
    const texts = node.params.flatMap(constantText)
    const query = [name.replace(/V[46]$/, ''), ...texts]
    if (texts.length === node.params.length) walk.needs.lookups.push({ query, line })
  }
  let here = name === 'len' || name === 'not' ? { ...walk, mayBeEmpty: true } : walk
  for (const param of node.params) {
    inExpression(param, here)
    if (name === 'and') here = inside(here, param, true)
    else if (name === 'or') here = inside(here, param, false)
    // A default counts only when the key is absent.
    else if (name === 'getv') here = { ...here, conditional: true }
  }
}

function inside(walk: Walk, condition: Expression | undefined, holds: boolean): Walk {
  const known = new Set([...walk.known, ...existing(condition, holds)])
  return { ...walk, known, conditional: true }
}

/** Keys that certainly exist when `node` is true (or false, without `holds`). */
function existing(node: Expression | undefined, holds: boolean): string[] {
  if (node?.type !== 'SubExpression') return []
  const name = calledName(node)
  const [first] = node.params
  if (name === 'not') return existing(first, !holds)
  if (name === (holds ? 'and' : 'or')) return node.params.flatMap((param) => existing(param, holds))
  const key = constantKey(first)
  return name === 'exists' && holds && key !== undefined ? [key] : []
}

function negate(node: Expression | undefined): Expression | undefined {
  if (node === undefined) return undefined
  const path = {
    type: 'PathExpression' as const,
    data: false,
    depth: 0,
    parts: ['not'],
    original: 'not',
    loc: node.loc,
  }
  return { type: 'SubExpression', path, params: [node], loc: node.loc }
}

function constantText(node: Expression | undefined): string[] {
  return node?.type === 'StringLiteral' ? [String(node.value)] : []
}

function constantKey(node: Expression | undefined): string | undefined {
  const [text = ''] = constantText(node)
  return text.startsWith('/') ? text : undefined
}
