import type { HelperDelegate, HelperOptions, TemplateDelegate } from 'handlebars'
import { StepError } from '../core/errors.ts'
import { callHelper, type HelperHost, helpers } from './helpers.ts'
import { type blocks, HAND_OVER, PRINT } from './syntax.ts'
import {
  fault,
  isList,
  isMap,
  isMissing,
  kindOf,
  type Missing,
  missing,
  refuseLong,
  truth,
  type Value,
} from './values.ts'

/** What one rendering may use at most; templates are code. */
export interface Limits {
  /** Characters that all values and loops of a template may make together. */
  characters: number
  /** Helper calls and loop rounds. */
  calls: number
  /** Date.now() after which rendering stops. */
  deadline: number
}

export interface Session extends Pick<HelperHost, 'value' | 'keys' | 'env' | 'now' | 'fileExists'> {
  limits: Limits
  /** Told of each absent key that a template printed or decided on. */
  onMissing(missing: Missing): void
}

/** Handlebars gives the place of a call with its options, though its types do not say so. */
interface Options extends HelperOptions {
  loc?: { source?: string; start: { line: number } }
}
type Loop = (context: unknown, options: Options) => string

/** The helpers as Handlebars calls them, for one rendering. Faults carry file and line. */
export function bindHelpers(
  session: Session,
  native: Record<'each' | 'with', HelperDelegate>,
): Record<string, (this: unknown, ...args: unknown[]) => unknown> {
  let calls = 0
  let made = 0
  let file = ''
  let line = 0
  const host: HelperHost = { ...session, missing: (key) => missing(key, file, line) }

  const spend = (characters = 0) => {
    if (++calls > session.limits.calls) throw fault('the template loops too often')
    made += characters
    if (made > session.limits.characters) throw fault('the template makes too much text')
    if (Date.now() > session.limits.deadline) throw fault('rendering takes too long')
  }

  /** Runs one call at its place in the template. */
  const at = <T>(options: Options, work: () => T): T => {
    file = options.loc?.source ?? ''
    line = options.loc?.start.line ?? 0
    const place = `${file}:${line}`
    try {
      spend()
      return work()
    } catch (error) {
      if (!(error instanceof StepError) || placed.has(error)) throw error
      const told = new StepError(error.code, `${place}: ${error.message}`, { hint: error.hint })
      placed.add(told)
      throw told
    }
  }
  const placed = new WeakSet<StepError>()

  /** Whether a block may look at its value; a missing one is noted and the block left out. */
  const present = (value: Value): boolean => {
    if (isMissing(value)) session.onMissing(value)
    return !isMissing(value)
  }
  const counted = (fn: TemplateDelegate): TemplateDelegate => {
    const run: TemplateDelegate = (context, options) => {
      spend()
      const text = fn(context, options)
      spend(text.length)
      return text
    }
    return Object.assign(run, fn)
  }
  const branch = (context: unknown, options: Options, value: Value, wanted: boolean) => {
    if (!present(value)) return ''
    return truth(value) === wanted ? options.fn(context) : options.inverse(context)
  }

  const bound: Record<string, (this: unknown, ...args: unknown[]) => unknown> = {}
  for (const name of helpers.keys()) {
    bound[name] = (...args) => {
      const options = args.pop() as Options
      return at(options, () => {
        const result = callHelper(name, args as Value[], host)
        if (typeof result === 'string') {
          refuseLong(result.length)
          spend(result.length)
        }
        return result
      })
    }
  }
  const block = (
    name: (typeof blocks)[number] | typeof PRINT | typeof HAND_OVER,
    run: (context: unknown, options: Options, value: Value) => unknown,
  ) => {
    bound[name] = function (...args) {
      const options = args.pop() as Options
      return at(options, () => run(this, options, args[0] as Value))
    }
  }
  const loop = (run: HelperDelegate, value: Value, context: unknown, options: Options) =>
    (run as unknown as Loop).call(context, value, {
      ...options,
      fn: counted(options.fn),
    })

  block('if', (context, options, value) => branch(context, options, value, true))
  block('unless', (context, options, value) => branch(context, options, value, false))
  block('each', (context, options, value) => {
    if (!present(value)) return ''
    if (isList(value) || isMap(value)) return loop(native.each, value, context, options)
    throw fault(
      `each needs a list or a map, got ${kindOf(value)}`,
      'split makes a list of a string.',
    )
  })
  block('with', (context, options, value) => {
    if (!present(value)) return ''
    return truth(value) ? loop(native.with, value, context, options) : options.inverse(context)
  })
  block('raw', (context, options) => options.fn(context))
  block(PRINT, (_context, _options, value) => print(value, present))
  block(HAND_OVER, (_context, _options, value) => (present(value) ? value : Object.create(null)))
  return bound
}

function print(value: Value, present: (value: Value) => boolean): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (!present(value)) return ''
  const hint = isList(value)
    ? 'Print its items with {{#each …}} or {{join … ","}}.'
    : isMap(value)
      ? 'Print one of its fields.'
      : 'Check the name of the field.'
  throw fault(`{{…}} has ${kindOf(value)} to print`, hint)
}
