import {
  type BlockNode,
  calledName,
  type Expression,
  type PartialNode,
  type ProgramNode,
  partialName,
  type Statement,
} from './ast.ts'

/** A constant key that a template asks for without a default. */
export interface Requirement {
  /** As the template writes it, without the resource's prefix. */
  key: string
  /** The template or the partial of it that asks. */
  file: string
  line: number
  /** Inside a block that another value may switch off. */
  conditional: boolean
}

interface Walk {
  load(name: string): { file: string; program: ProgramNode } | undefined
  found: Requirement[]
  file: string
  conditional: boolean
  /** Keys known to exist here, because of an `exists` around. */
  known: ReadonlySet<string>
  /** Files being walked, to end where partials include each other. */
  open: readonly string[]
}

/**
 * The keys a template needs, its partials included. `{{#if (exists "/a")}}{{getv "/a"}}{{/if}}`
 * needs none; a key in a block is needed if the block is taken, so it is marked `conditional`.
 * `load` gives a partial's file and tree before rewriting.
 */
export function requirementsOf(
  file: string,
  program: ProgramNode,
  load: Walk['load'],
): Requirement[] {
  const found: Requirement[] = []
  inProgram(program, { file, load, found, conditional: false, known: new Set(), open: [file] })
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
  for (const param of node.params) inExpression(param, walk)
  const name = calledName(node)
  if (name === 'raw') return
  const condition = name === 'unless' ? negate(node.params[0]) : node.params[0]
  inProgram(node.program, inside(walk, condition, true))
  inProgram(node.inverse, inside(walk, condition, false))
}
function inPartial(node: PartialNode, walk: Walk): void {
  for (const param of node.params) inExpression(param, walk)
  for (const pair of node.hash?.pairs ?? []) inExpression(pair.value, walk)
  const loaded = walk.load(partialName(node) ?? '')
  if (loaded === undefined || walk.open.includes(loaded.file)) return
  inProgram(loaded.program, { ...walk, file: loaded.file, open: [...walk.open, loaded.file] })
}
function inExpression(node: Expression, walk: Walk): void {
  if (node.type !== 'SubExpression') return
  const name = calledName(node)
  const key = constantKey(node.params[0])
  const asks = name === 'get' || (name === 'getv' && node.params.length === 1)
  if (asks && key !== undefined && !walk.known.has(key)) {
    walk.found.push({
      key,
      file: walk.file,
      line: node.loc.start.line,
      conditional: walk.conditional,
    })
  }
  let here = walk
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

/** Keys that exist for certain when `node` is true (or, with `holds` false, is not). */
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

function constantKey(node: Expression | undefined): string | undefined {
  const text = node?.type === 'StringLiteral' ? String(node.value) : ''
  return text.startsWith('/') ? text : undefined
}
