import type { HelperDelegate, HelperOptions, TemplateDelegate } from 'handlebars'
import { StepError } from '../../../core/errors.ts'
import type { HelperHost } from './helper.ts'
import { callHelper, helpers } from './helpers.ts'
import { type blocks, HAND_OVER, PRINT, PRINT_CALL } from './syntax.ts'
import {
  isList,
  isMap,
  isMissing,
  kindOf,
  type Missing,
  missing,
  refuseLong,
  templateError,
  truth,
  type Value,
} from './values.ts'

/** Limits of one rendering, because templates are code. */
export interface Limits {
  /** Characters that all values and loops of a template may make together. */
  characters: number
  /** Helper calls and loop rounds. */
  calls: number
  /** Date.now() after which rendering stops. */
  deadline: number
}

export interface Session extends Omit<HelperHost, 'missing' | 'nothingBelow'> {
  limits: Limits
  /** Called with each absent key that a template prints or decides on. */
  onMissing(missing: Missing): void
  /** Called with each pattern or folder that no key matches. */
  onNothing(found: { pattern: string; file: string; line: number }): void
}

/** Handlebars passes the location of a call in its options; its types lack it. */
interface Options extends HelperOptions {
  loc?: { source?: string; start: { line: number } }
}
type Loop = (context: unknown, options: Options) => string
type Block = (context: unknown, options: Options, value: Value) => unknown
type BlockName = (typeof blocks)[number] | typeof PRINT | typeof HAND_OVER

type Bound = Record<string, (this: unknown, ...args: unknown[]) => unknown>

/** Counts what one rendering uses, and knows the current location. */
interface Meter {
  spend(characters?: number): void
  /** Runs a call at its location in the template; errors get file and line. */
  at<T>(options: Options, work: () => T): T
  place(): { file: string; line: number }
}

function createMeter({ limits }: Session): Meter {
  let calls = 0
  let made = 0
  let here = { file: '', line: 0 }
  const placed = new WeakSet<StepError>()
  const spend = (characters = 0) => {
    made += characters
    if (++calls > limits.calls) throw templateError('the template loops too often')
    if (made > limits.characters) throw templateError('the template makes too much text')
    if (Date.now() > limits.deadline) throw templateError('rendering takes too long')
  }
  return {
    spend,
    place: () => here,
    at({ loc }, work) {
      const place = { file: loc?.source ?? '', line: loc?.start.line ?? 0 }
      here = place
      try {
        spend()
        return work()
      } catch (error) {
        if (!(error instanceof StepError) || placed.has(error)) throw error
        const message = `${place.file}:${place.line}: ${error.message}`
        const located = new StepError(error.code, message, { hint: error.hint })
        placed.add(located)
        throw located
      }
    },
  }
}

/**
 * The helpers and blocks as Handlebars calls them, for one rendering; only those in `calls`,
 * because Handlebars wraps each of them for each template.
 */
export function bindHelpers(
  session: Session,
  native: Record<'each' | 'with', HelperDelegate>,
  calls: ReadonlySet<string>,
): Bound {
  const meter = createMeter(session)
  const host: HelperHost = {
    ...session,
    missing(key) {
      const { file, line } = meter.place()
      return missing(key, file, line)
    },
    nothingBelow: (pattern) => session.onNothing({ pattern, ...meter.place() }),
  }
  const present = presence(session)
  const bound = bindBlocks(present, meter, native)
  for (const called of calls) {
    const prints = called.startsWith(PRINT_CALL)
    const name = prints ? called.slice(PRINT_CALL.length) : called
    if (!helpers.has(name)) continue
    bound[called] = (...args) => {
      const options = args.pop() as Options
      return meter.at(options, () => {
        const result = callHelper(name, args as Value[], host)
        if (typeof result === 'string') {
          refuseLong(result.length)
          meter.spend(result.length)
        }
        return prints ? print(result, present) : result
      })
    }
  }
  return bound
}

type Present = (value: Value) => boolean

/** Whether a block has its value; a missing value is recorded and the block left out. */
function presence(session: Session): Present {
  return (value) => {
    if (isMissing(value)) session.onMissing(value)
    return !isMissing(value)
  }
}

function bindBlocks(
  present: Present,
  meter: Meter,
  native: Record<'each' | 'with', HelperDelegate>,
): Bound {
  const branch =
    (wanted: boolean): Block =>
    (context, options, value) => {
      if (!present(value)) return ''
      return truth(value) === wanted ? options.fn(context) : options.inverse(context)
    }
  const loop = (run: HelperDelegate, value: Value, context: unknown, options: Options) =>
    (run as unknown as Loop).call(context, value, { ...options, fn: counted(options.fn, meter) })

  const byName: Record<BlockName, Block> = {
    if: branch(true),
    unless: branch(false),
    each(context, options, value) {
      if (!present(value)) return ''
      if (isList(value) || isMap(value)) return loop(native.each, value, context, options)
      const hint = 'split makes a list of a string.'
      throw templateError(`each needs a list or a map, got ${kindOf(value)}`, hint)
    },
    with(context, options, value) {
      if (!present(value)) return ''
      return truth(value) ? loop(native.with, value, context, options) : options.inverse(context)
    },
    raw: (context, options) => options.fn(context),
    [PRINT]: (_context, _options, value) => print(value, present),
    [HAND_OVER]: (_context, _options, value) => (present(value) ? value : Object.create(null)),
  }
  const bound: Bound = {}
  for (const [name, block] of Object.entries(byName)) {
    bound[name] = function (...args) {
      const options = args.pop() as Options
      return meter.at(options, () => block(this, options, args[0] as Value))
    }
  }
  return bound
}

/** A loop's body, with its rounds and its text counted. */
function counted(fn: TemplateDelegate, meter: Meter): TemplateDelegate {
  const run: TemplateDelegate = (context, options) => {
    meter.spend()
    const text = fn(context, options)
    meter.spend(text.length)
    return text
  }
  return Object.assign(run, fn)
}

function print(value: Value, present: Present): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (!present(value)) return ''
  const hint = isList(value)
    ? 'Print its items with {{#each …}} or {{join … ","}}.'
    : isMap(value)
      ? 'Print one of its fields.'
      : 'Check the name of the field.'
  throw templateError(`{{…}} has ${kindOf(value)} to print`, hint)
}
