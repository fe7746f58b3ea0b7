import Handlebars from 'handlebars'
import { describe, StepError } from '../../../core/errors.ts'
import type { ProgramNode } from './ast.ts'
import { helpers } from './helpers.ts'
import { type Needs, needsOf } from './requirements.ts'
import { blocks, checkAndRewrite, HAND_OVER, PRINT, PRINT_CALL } from './syntax.ts'

/** One file of templates/, to be compiled. */
export interface UnitSource {
  /** `templates/app.properties.hbs` */
  file: string
  bytes: Uint8Array
  /** Whether it is a partial: then its names may be fields of its context. */
  included: boolean
  /** The file of a partial, by the name that templates use. */
  partial(name: string): string | undefined
}

/** A file that has passed every check that is possible without values; plain JSON. */
export interface CompiledUnit {
  /** JavaScript: a UnitCode. */
  code: string
  needs: Needs
  /** Helpers and blocks that it calls. */
  calls: string[]
  /** The partials it names, by name: their files. */
  partials: Record<string, string>
}

/** Returns the object that Handlebars' runtime reads. */
export type UnitCode = (at: OptionsAt) => TemplateSpecification

/** The options of a call without a block, at its place in the file. */
type OptionsAt = (name: string, data: unknown, line: number, column: number) => object

const DEEPEST = 100

/**
 * How templates are compiled, and why:
 * - noEscape: these are not HTML pages; `=` stays `=`.
 * - preventIndent: a partial's lines, and the values in them, stay as they are.
 * - ignoreStandalone is off: a line that holds only `{{#if …}}` or `{{/if}}` leaves no blank line.
 *   Go keeps such lines, and users of confd dislike them.
 * - knownHelpersOnly, and syntax.ts with its allow-list: a misspelt helper is an error, not "".
 */
const compileOptions = {
  noEscape: true,
  preventIndent: true,
  knownHelpersOnly: true,
  knownHelpers: Object.fromEntries(
    [...helpers.keys()]
      .flatMap((name) => [name, `${PRINT_CALL}${name}`])
      .concat(blocks, PRINT, HAND_OVER)
      .map((name) => [name, true]),
  ),
}

/** Checks and compiles one file; all its problems are one INPUT_INVALID, a line each. */
export function compileUnit({ file, bytes, included, partial }: UnitSource): CompiledUnit {
  try {
    const source = decode(bytes, file)
    refuseDeep(source, file)
    const program = parse(source, file)
    const partials: Record<string, string> = {}
    const problems = checkAndRewrite(program, {
      fields: included,
      partial(name) {
        const found = partial(name)
        if (found !== undefined) partials[name] = found
        return found
      },
    })
    if (problems.length > 0) {
      const lines = problems.map(({ line, text }) => `${file}:${line}: ${text}`)
      throw new StepError('INPUT_INVALID', [...new Set(lines)].join('\n'))
    }
    const needs = needsOf(program)
    const calls = new Set<string>()
    collectCalls(program, calls)
    const code = Handlebars.precompile(program, compileOptions) as unknown as string
    return { code: shareOptions(code), needs, calls: [...calls], partials }
  } catch (error) {
    if (error instanceof StepError) throw error
    throw new StepError('INPUT_INVALID', `${file}: cannot be compiled: ${describe(error)}`, {
      cause: error,
    })
  }
}

/** `"` ends a string in the code, so a template's text cannot match this. */
const OPTIONS =
  /\{"name":("[^"\\]*"),"hash":\{\},"data":data,"loc":\{"source":"(?:[^"\\]|\\.)*","start":\{"line":(\d+),"column":(\d+)\}\}\}/g

/**
 * Handlebars writes the options of each call as a literal of four objects. V8 optimizes each
 * literal for many runs, but a template runs once: a shared function in their place is several
 * times faster. The code becomes a function of that function.
 */
function shareOptions(code: string): string {
  return `($at)=>(${code.replaceAll(OPTIONS, '$$at($1,data,$2,$3)')})`
}

function decode(bytes: Uint8Array, file: string): string {
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

/** Handlebars reports the line of a syntax error in its text, or as lineNumber; nowhere else. */
function parse(source: string, file: string): ProgramNode {
  try {
    return Handlebars.parse(source, { srcName: file }) as unknown as ProgramNode
  } catch (error) {
    const text = describe(error)
    const { lineNumber } = error as { lineNumber?: number }
    const line = lineNumber ?? Number(/line (\d+)/.exec(text)?.[1] ?? 1)
    const [first = '', near] = text.split('\n')
    const what = near === undefined ? first : `syntax error near ${near.trim()}`
    throw new StepError('INPUT_INVALID', `${file}:${line}: ${what}`, { cause: error })
  }
}

/** Handlebars' time grows with the square of the nesting. */
function refuseDeep(source: string, file: string): void {
  const bare = source.replace(/\{\{~?!--[\s\S]*?--~?\}\}|\{\{~?![\s\S]*?\}\}/g, '')
  let depth = 0
  for (const [, kind] of bare.matchAll(/\{\{~?(#|\^(?!~?\}\})|\/)/g)) {
    depth += kind === '/' ? -1 : 1
    if (depth <= DEEPEST) continue
    throw new StepError('INPUT_INVALID', `${file}: blocks are nested more than ${DEEPEST} deep`)
  }
}

/**
 * Collects the names that may be calls, and removes the end of each location: every call in the
 * code carries its location, and the ends would be a sixth of all code.
 */
function collectCalls(node: object, calls: Set<string>): void {
  const { loc, original } = node as { loc?: { end?: unknown }; original?: unknown }
  if (typeof original === 'string' && Object.hasOwn(compileOptions.knownHelpers, original)) {
    calls.add(original)
  }
  if (loc) delete loc.end
  for (const [name, value] of Object.entries(node) as [string, unknown][]) {
    if (name !== 'loc' && typeof value === 'object' && value !== null) collectCalls(value, calls)
  }
}
