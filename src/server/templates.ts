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
export function compileText(template: string): (facts: Facts) => string {
  const engine = Handlebars.create()
  engine.registerHelper('short', helpers.short)
  const render = engine.compile(template, {
    ...{ noEscape: true, knownHelpers: { short: true }, knownHelpersOnly: true },
  })
  // Values of no fact are empty; what is no fact at all was refused when the file was read.
  return (facts) => render(facts, { allowProtoPropertiesByDefault: false })
}

/** A template in a settings file; one that does not compile, or asks for no fact, is refused. */
export const templateText = z.string().superRefine((template, check) => {
  const fault = faultOf(template)
  if (fault !== undefined) check.addIssue({ code: 'custom', message: fault, input: template })
})

function faultOf(template: string): string | undefined {
  try {
    const visitor = new Unknown()
    visitor.accept(Handlebars.parse(template))
    const [name] = visitor.names
    if (name === undefined) return undefined
    return `has {{${name}}}, which is no fact of an event; known: ${[...known].join(', ')}`
  } catch (error) {
    return `is no template: ${(error as Error).message.split('\n')[0]}`
  }
}

/** Collects the paths that are neither facts nor helpers. */
class Unknown extends Handlebars.Visitor {
  readonly names: string[] = []

  override PathExpression({ original }: hbs.AST.PathExpression): void {
    if (known.has(original) || Object.hasOwn(helpers, original)) return
    this.names.push(original)
  }

  override PartialStatement({ name }: hbs.AST.PartialStatement): void {
    this.names.push(`> ${(name as hbs.AST.PathExpression).original}`)
  }
}
