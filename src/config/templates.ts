import Handlebars from 'handlebars'
import { describe, StepError } from '../core/errors.ts'
import { type PartialNode, type ProgramNode, partialName, type Statement } from './ast.ts'
import { helpers } from './helpers.ts'
import { type Requirement, requirementsOf } from './requirements.ts'
import type { ConfigTemplate, TemplateFiles } from './resources.ts'
import { bindHelpers, type Session } from './runtime.ts'
import { blocks, checkAndRewrite, HAND_OVER, PRINT } from './syntax.ts'

/** A template that has passed every check that needs no values. */
export interface CompiledTemplate {
  readonly requirements: readonly Requirement[]
  /** The text, or INPUT_INVALID with file and line. Absent keys are told to the session. */
  render(session: Session): string
}

const DEEPEST = 100

/** A file of templates/ and what it includes. */
interface Unit {
  file: string
  program: ProgramNode
  /** Files of the partials it names. */
  includes: readonly string[]
  run: Handlebars.TemplateDelegate
}

/**
 * How templates are compiled, and why:
 * - noEscape: these are not HTML pages; `=` stays `=`.
 * - preventIndent: a partial's lines, and the values in them, stay as they are.
 * - ignoreStandalone is off: a line that holds only `{{#if …}}` or `{{/if}}` leaves no blank line.
 *   Go keeps such lines; confd's users ask to be rid of them.
 * - knownHelpersOnly, and syntax.ts with its allow-list: a misspelt helper is an error, not "".
 */
const compileOptions = {
  noEscape: true,
  preventIndent: true,
  knownHelpersOnly: true,
  knownHelpers: Object.fromEntries(
    [...helpers.keys(), ...blocks, PRINT, HAND_OVER].map((name) => [name, true]),
  ),
}

/** Returns a function that compiles; each file is parsed once, however many templates use it. */
export function createCompiler(): (template: ConfigTemplate) => CompiledTemplate {
  const engine = Handlebars.create()
  const unitsOf = new Map<TemplateFiles, Map<string, Unit | StepError>>()

  const unitAt = (files: TemplateFiles, file: string, included: boolean): Unit | StepError => {
    const units = unitsOf.get(files) ?? new Map<string, Unit | StepError>()
    unitsOf.set(files, units)
    const id = `${included} ${file}`
    const known = units.get(id) ?? readUnit(engine, files, file, included)
    units.set(id, known)
    return known
  }

  return ({ template, files }) => {
    const { units, problems } = collect(template, (file, included) => unitAt(files, file, included))
    const main = units.get(template)
    if (problems.length > 0 || main === undefined) {
      throw new StepError('INPUT_INVALID', problems.join('\n'), { hint: 'Mend the template.' })
    }
    const partials = Object.fromEntries([...units].map(([file, { run }]) => [file, run]))
    return {
      requirements: requirementsOf(template, main.program, (file) => units.get(file)),
      render: (session) =>
        main.run(Object.create(null), {
          helpers: bindHelpers(session, nativeBlocks(engine)),
          partials,
          allowProtoPropertiesByDefault: false,
          allowProtoMethodsByDefault: false,
        }),
    }
  }
}

function nativeBlocks(engine: typeof Handlebars) {
  const { each, with: withBlock } = engine.helpers
  if (each === undefined || withBlock === undefined) {
    throw new StepError('INTERNAL', 'handlebars has no each and with')
  }
  return { each, with: withBlock }
}

/** The template and all it includes; partials that include each other are a problem. */
function collect(
  template: string,
  unitAt: (file: string, included: boolean) => Unit | StepError,
): { units: Map<string, Unit>; problems: string[] } {
  const units = new Map<string, Unit>()
  const problems: string[] = []
  const failed = new Set<string>()
  const visit = (file: string, open: readonly string[]): void => {
    if (open.includes(file)) {
      const problem = `${file}: includes itself (${[...open, file].join(' → ')})`
      if (!failed.has(file)) problems.push(problem)
      failed.add(file)
      return
    }
    if (units.has(file) || failed.has(file)) return
    const unit = unitAt(file, open.length > 0)
    if (unit instanceof StepError) {
      failed.add(file)
      problems.push(unit.message)
      return
    }
    for (const include of unit.includes) visit(include, [...open, file])
    units.set(file, unit)
  }
  visit(template, [])
  return { units, problems }
}

function readUnit(
  engine: typeof Handlebars,
  files: TemplateFiles,
  file: string,
  included: boolean,
): Unit | StepError {
  try {
    const source = decode(files, file)
    refuseDeep(source, file)
    const program = parse(engine, source, file)
    const partial = (name: string) => partialFile(files, name)
    const problems = checkAndRewrite(program, { fields: included, partial })
    if (problems.length > 0) {
      const lines = problems.map(({ line, text }) => `${file}:${line}: ${text}`)
      return new StepError('INPUT_INVALID', [...new Set(lines)].join('\n'))
    }
    const includes = partialsIn(program).map((node) => partialName(node) ?? '')
    return { file, program, includes, run: engine.compile(program, compileOptions) }
  } catch (error) {
    if (error instanceof StepError) return error
    return new StepError('INPUT_INVALID', `${file}: cannot be compiled: ${describe(error)}`, {
      cause: error,
    })
  }
}

function decode(files: TemplateFiles, file: string): string {
  const bytes = files.get(file)
  if (bytes === undefined)
    throw new StepError('INPUT_INVALID', `${file}: there is no such template`)
  let source: string
  try {
    source = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new StepError('INPUT_INVALID', `${file}: is not UTF-8 text`)
  }
  if (source.startsWith('\ufeff')) {
    throw new StepError('INPUT_INVALID', `${file}:1: begins with an invisible byte order mark`)
  }
  return source
}

/** Handlebars tells the line of a syntax error in its text, or as lineNumber; nowhere else. */
function parse(engine: typeof Handlebars, source: string, file: string): ProgramNode {
  try {
    return engine.parse(source, { srcName: file }) as unknown as ProgramNode
  } catch (error) {
    const text = describe(error)
    const told = (error as { lineNumber?: number }).lineNumber
    const line = told ?? Number(/line (\d+)/.exec(text)?.[1] ?? 1)
    const [first = '', near] = text.split('\n')
    const what = near === undefined ? first : `syntax error near ${near.trim()}`
    throw new StepError('INPUT_INVALID', `${file}:${line}: ${what}`, { cause: error })
  }
}

/** The time Handlebars takes grows with the square of the nesting. */
function refuseDeep(source: string, file: string): void {
  const bare = source.replace(/\{\{~?!--[\s\S]*?--~?\}\}|\{\{~?![\s\S]*?\}\}/g, '')
  let depth = 0
  for (const [, kind] of bare.matchAll(/\{\{~?(#|\^(?!~?\}\})|\/)/g)) {
    depth += kind === '/' ? -1 : 1
    if (depth <= DEEPEST) continue
    throw new StepError('INPUT_INVALID', `${file}: blocks are nested more than ${DEEPEST} deep`)
  }
}

function partialFile(files: TemplateFiles, name: string): string | undefined {
  return [`templates/${name}`, `templates/${name}.hbs`].find((file) => files.has(file))
}

function partialsIn(program: ProgramNode | undefined): PartialNode[] {
  return (program?.body ?? []).flatMap((node: Statement) => {
    if (node.type === 'PartialStatement') return [node]
    if (node.type !== 'BlockStatement') return []
    return [...partialsIn(node.program), ...partialsIn(node.inverse)]
  })
}
