/** The part of Handlebars' syntax tree that is used here; its own types are too loose. */

export interface Location {
  readonly start: { readonly line: number }
}

interface Base {
  readonly loc: Location
}

export interface PathNode extends Base {
  readonly type: 'PathExpression'
  /** `@index` */
  readonly data: boolean
  readonly depth: number
  readonly parts: readonly string[]
  readonly original: string
}

export interface LiteralNode extends Base {
  readonly type:
    | 'StringLiteral'
    | 'NumberLiteral'
    | 'BooleanLiteral'
    | 'UndefinedLiteral'
    | 'NullLiteral'
  readonly value?: string | number | boolean
  readonly original?: string | number | boolean
}

export interface HashNode extends Base {
  readonly pairs: readonly { readonly key: string; value: Expression }[]
}

/** The common form of all calls: `{{a b}}`, `(a b)`, `{{#a b}}`. */
export interface Call extends Base {
  path: PathNode | LiteralNode
  params: Expression[]
  hash?: HashNode | undefined
}

export interface SubExpression extends Call {
  readonly type: 'SubExpression'
}

export type Expression = PathNode | LiteralNode | SubExpression

export interface MustacheNode extends Call {
  readonly type: 'MustacheStatement'
}

export interface BlockNode extends Call {
  readonly type: 'BlockStatement'
  readonly program?: ProgramNode
  readonly inverse?: ProgramNode
}

export interface PartialNode extends Base {
  readonly type: 'PartialStatement'
  name: PathNode | LiteralNode | SubExpression
  params: Expression[]
  hash?: HashNode | undefined
}

interface OtherNode extends Base {
  readonly type: 'Decorator' | 'DecoratorBlock' | 'PartialBlockStatement' | 'CommentStatement'
}

interface ContentNode extends Base {
  readonly type: 'ContentStatement'
  readonly original: string
}

export type Statement = MustacheNode | BlockNode | PartialNode | ContentNode | OtherNode

export interface ProgramNode {
  readonly type: 'Program'
  readonly body: readonly Statement[]
  readonly blockParams?: readonly string[]
}

/** The helper's name in a call, if it has the form of a name: `getv`, not `a.b` or `@key`. */
export function calledName({ path }: Pick<Call, 'path'>): string | undefined {
  if (path.type !== 'PathExpression' || path.data || path.depth > 0) return undefined
  if (path.parts.length !== 1 || path.original !== path.parts[0]) return undefined
  return path.original
}

/** The constant name of a partial; undefined when it is computed. */
export function partialName({ name }: PartialNode): string | undefined {
  return name.type === 'SubExpression' ? undefined : String(name.original)
}
