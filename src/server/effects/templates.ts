import Handlebars from 'handlebars'
import { z } from 'zod'

type Facts = Readonly<Record<string, string>>

/** Names that a template may use; `templateFacts` gives a value to each. */
const known = new Set([
  ...['id', 'source', 'kind', 'project', 'ref', 'commit', 'by', 'title', 'url', 'repository'],
  ...['digest', 'tag', 'severity', 'request', 'text', 'route', 'what', 'environment', 'schedule'],
])
const helpers = {
  if: true,
  unless: true,
  /** The first characters of a commit or digest. */
  short: (text: unknown) =>
    String(text)
      .replace(/^sha256:/, '')
      .slice(0, 12),
}

/** Small texts in crosscloud.server.yml: `{{by}} pushed {{short commit}}`. No value is escaped. */
export function compileTemplate(template: string): (facts: Facts) => string {
  const engine = Handlebars.create()
  engine.registerHelper('short', helpers.short)
  const render = engine.compile(template, {
    noEscape: true,
    knownHelpers: { short: true },
    knownHelpersOnly: true,
  })
  // A fact without a value is empty; unknown names were rejected when the file was read.
  return (facts) => render(facts, { allowProtoPropertiesByDefault: false })
}

/** A template in a settings file: it must compile, and use known facts only. */
export const templateText = z.string().superRefine((template, check) => {
  const problem = problemOf(template)
  if (problem !== undefined) check.addIssue({ code: 'custom', message: problem, input: template })
})

function problemOf(template: string): string | undefined {
  try {
    return problemOfAll(Handlebars.parse(template))
  } catch (error) {
    const [first, near] = (error as Error).message.split('\n')
    return `is no template: ${near === undefined ? first : `syntax error near ${near.trim()}`}`
  }
}

const nameOf = ({ original }: hbs.AST.PathExpression): string => original

function problemOfAll(program: hbs.AST.Program | undefined): string | undefined {
  for (const statement of program?.body ?? []) {
    const problem = problemOfStatement(statement)
    if (problem !== undefined) return problem
  }
  return undefined
}

/** Accepts only these parts of Handlebars: the others would fail when the event is worked on. */
function problemOfStatement(statement: hbs.AST.Statement): string | undefined {
  if (statement.type === 'ContentStatement' || statement.type === 'CommentStatement') return
  if (statement.type === 'MustacheStatement') {
    return problemOfValue(statement as hbs.AST.MustacheStatement)
  }
  if (statement.type !== 'BlockStatement') return 'has {{> …}} or {{* …}}, which are not for here'
  const { path, params, hash, program, inverse } = statement as hbs.AST.BlockStatement
  const [condition] = params
  const name = nameOf(path)
  if (name !== 'if' && name !== 'unless') return `has {{#${name}}}; known blocks: if, unless`
  if (condition === undefined || params.length > 1 || hash || program?.blockParams) {
    return `has {{#${name}}} without exactly one fact: {{#${name} tag}} … {{/${name}}}`
  }
  return problemOfValue(condition) ?? problemOfAll(program) ?? problemOfAll(inverse)
}

/** A fact, `short` of one, or a `(…)` of these. */
function problemOfValue(value: hbs.AST.Node): string | undefined {
  const calls = value.type === 'MustacheStatement' || value.type === 'SubExpression'
  const { path, params, hash } = calls
    ? (value as hbs.AST.SubExpression)
    : { path: value as hbs.AST.PathExpression, params: [], hash: undefined }
  const name = nameOf(path)
  if (name === 'short') {
    const [of] = params
    if (of && params.length === 1 && !hash) return problemOfValue(of)
    return 'has {{short}} without exactly one fact: {{short commit}}'
  }
  if (path.type !== 'PathExpression' || !known.has(name)) {
    return `has {{${name}}}, which is no fact of an event; known: ${[...known].join(', ')}`
  }
  const called = params.length > 0 || hash || value.type === 'SubExpression'
  return called ? `has {{${name} …}}, but ${name} is a fact and takes nothing` : undefined
}
