import { didYouMean } from '../../../core/settings/suggest.ts'
import {
  type Call,
  calledName,
  type Expression,
  type PartialNode,
  type PathNode,
  type ProgramNode,
  partialName,
  type Statement,
  type SubExpression,
} from './ast.ts'
import { arityProblem, helpers } from './helpers.ts'

/**
 * Blocks a template may open. `raw` prints its content as it stands: {{{{raw}}}} … {{{{/raw}}}}.
 */
export const blocks = ['if', 'unless', 'each', 'with', 'raw'] as const
/** Prints the value of every `{{…}}`, so that nothing unprintable is ever printed. */
export const PRINT = '$print'
/** A prefix of a helper's name: calls the helper and prints the result. */
export const PRINT_CALL = '$print '
/** Checks the context passed to a partial. */
export const HAND_OVER = '$handOver'

const blockNames: ReadonlySet<string> = new Set(blocks)
const dataNames = new Set(['index', 'key', 'first', 'last'])
/** Keywords of Go templates that users of confd know. */
const goWords: Record<string, string> = {
  range: '{{#each (gets "/a/*")}} … {{/each}}',
  end: '{{/if}}, {{/each}} or {{/with}}',
  else: '{{else}} inside a block',
  if: '{{#if …}} … {{/if}}',
  with: '{{#with …}} … {{/with}}',
  template: '{{> name}}',
  define: 'a file of its own and {{> name}}',
  block: 'a file of its own and {{> name}}',
}

export interface SyntaxProblem {
  line: number
  text: string
}

interface Scope {
  /** Inside each or with (or a partial): names may be fields of the item. */
  fields: boolean
  partial(name: string): string | undefined
  report(node: Located, text: string): void
}

type Located = Pick<Call, 'loc'>

/**
 * Finds everything in a parsed template that would fail or be silently empty, and rewrites it in
 * place: each `{{x}}` becomes `{{$print x}}` or, of a helper, `{{[$print helper] …}}`; each
 * partial's name its file.
 */
export function checkAndRewrite(
  program: ProgramNode,
  options: Pick<Scope, 'fields' | 'partial'>,
): SyntaxProblem[] {
  const problems: SyntaxProblem[] = []
  checkProgram(program, {
    ...options,
    report: (node, text) => problems.push({ line: node.loc.start.line, text }),
  })
  return problems
}

function checkProgram(node: ProgramNode | undefined, scope: Scope): void {
  for (const statement of node?.body ?? []) checkStatement(statement, scope)
}

function checkStatement(node: Statement, scope: Scope): void {
  switch (node.type) {
    case 'CommentStatement':
      return
    case 'ContentStatement':
      if (node.original.includes('{{')) {
        scope.report(
          node,
          '\\{{ prints {{ and no value: write \\\\{{ for a backslash before a value, {{{{raw}}}} for braces',
        )
      }
      return
    case 'MustacheStatement':
      checkCall(node, scope)
      printThrough(node)
      return
    case 'BlockStatement':
      checkBlock(node, scope)
      return
    case 'PartialStatement':
      checkPartial(node, scope)
      return
    default:
      scope.report(node, 'decorators, inline partials and partial blocks are not read')
  }
}

function checkBlock(node: Extract<Statement, { type: 'BlockStatement' }>, scope: Scope): void {
  const name = calledName(node)
  if (name === undefined || !blockNames.has(name)) {
    const shown = String(node.path.original)
    const hint = helpers.has(shown) ? `: write {{#each (${shown} …)}}` : didYouMean(shown, blocks)
    scope.report(node, `{{#${shown}}} is no block${hint}`)
  } else {
    const wanted = name === 'raw' ? 0 : 1
    if (node.params.length !== wanted)
      scope.report(node, `{{#${name}}} takes ${wanted} argument, got ${node.params.length}`)
    if (node.hash) scope.report(node, `{{#${name}}} takes no name=value`)
  }
  for (const param of node.params) checkExpression(param, scope)
  for (const param of node.program?.blockParams ?? []) {
    if (helpers.has(param))
      scope.report(node, `"${param}" is a helper and cannot be a block parameter`)
  }
  if (name === 'raw') return
  const inside = name === 'each' || name === 'with' ? { ...scope, fields: true } : scope
  checkProgram(node.program, inside)
  checkProgram(node.inverse, scope)
}

function checkPartial(node: PartialNode, scope: Scope): void {
  const name = partialName(node)
  const file = name === undefined ? undefined : scope.partial(name)
  if (name === undefined) scope.report(node, 'the name of a partial cannot be computed')
  else if (file === undefined) scope.report(node, `there is no partial ${name} in templates/`)
  else node.name = pathNode(file, node)
  for (const param of node.params) checkExpression(param, scope)
  for (const pair of node.hash?.pairs ?? []) checkExpression(pair.value, scope)
  node.params = node.params.map((param) => call(HAND_OVER, [param], node))
}

function checkExpression(node: Expression, scope: Scope): void {
  if (node.type === 'SubExpression') checkCall(node, scope)
  else if (node.type === 'PathExpression') checkPath(node, scope)
  else if (node.type === 'NullLiteral' || node.type === 'UndefinedLiteral')
    scope.report(node, `${node.type === 'NullLiteral' ? 'null' : 'undefined'} is not a value`)
}

function checkPath(node: PathNode, scope: Scope): void {
  if (node.data) {
    if (!dataNames.has(node.parts.join('.')))
      scope.report(node, `${node.original} is not known; there are @index, @key, @first, @last`)
  } else if (!scope.fields) scope.report(node, noHelper(node.original))
}

function checkCall(node: Call, scope: Scope): void {
  const name = calledName(node)
  if (name !== undefined && helpers.has(name)) {
    const problem = arityProblem(name, node.params.length)
    if (problem) scope.report(node, problem)
  } else if (node.params.length > 0 || (node as { type?: string }).type === 'SubExpression') {
    scope.report(node, noHelper(String(node.path.original)))
  } else if (node.path.type === 'PathExpression') checkPath(node.path, scope)
  else scope.report(node, 'a constant needs no braces')
  if (node.hash) scope.report(node, `${String(node.path.original)} takes no name=value`)
  for (const param of node.params) checkExpression(param, scope)
}

function noHelper(name: string): string {
  if (name.startsWith('.') || name.startsWith('$')) return `${name} is Go template syntax`
  const word = Object.hasOwn(goWords, name) ? goWords[name] : undefined
  if (word !== undefined) return `"${name}" is Go template syntax: write ${word}`
  const meant = didYouMean(name, helpers.keys())
  return `there is no helper "${name}"${meant || '; keys are read with {{getv "/a/b"}}'}`
}

function printThrough(node: Extract<Statement, { type: 'MustacheStatement' }>): void {
  const name = calledName(node)
  if (name !== undefined && helpers.has(name)) {
    node.path = pathNode(`${PRINT_CALL}${name}`, node)
    return
  }
  const printed = call(PRINT, [node.path], node)
  node.path = printed.path
  node.params = printed.params
  node.hash = undefined
}

function call(name: string, params: Expression[], at: Located): SubExpression {
  return { type: 'SubExpression', path: pathNode(name, at), params, loc: at.loc }
}

function pathNode(name: string, { loc }: Located): PathNode {
  return { type: 'PathExpression', data: false, depth: 0, parts: [name], original: name, loc }
}
