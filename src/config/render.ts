import { StepError, toStepError } from '../core/errors.ts'
import { compareBytes } from './keys.ts'
import type { ConfigTemplate } from './resources.ts'
import type { Session } from './runtime.ts'
import type { ConfigSnapshot } from './store.ts'
import { type CompiledTemplate, createCompiler } from './templates.ts'
import { fault } from './values.ts'

/** One file as a container must have it. */
export interface RenderedFile {
  /** Absolute path inside the container. */
  path: string
  content: Buffer
  /** Octal permission bits. */
  mode: number
  uid: number
  gid: number
  /** `templates/app.properties.hbs` */
  template: string
  /** The keys whose values were looked at, sorted. */
  keys: readonly string[]
}

export interface RenderOptions {
  templates: readonly ConfigTemplate[]
  /** All keys of the environment; each template sees those below its `keys`. */
  snapshot: ConfigSnapshot
  /** The environment's name, for messages. */
  environment: string
  /** What `getenv` reads; without it, getenv is an error rather than always empty. */
  env?: Readonly<Record<string, string | undefined>> | undefined
  /** What `datetime` tells. */
  now?: (() => Date) | undefined
  /** Answers `fileExists`: only the caller knows which machine is meant. */
  fileExists?: ((path: string) => boolean) | undefined
}

export interface RequiredKey {
  /** Full key, as the config centre holds it. */
  key: string
  /** The template, or the partial of it, that asks. */
  template: string
  line: number
  /** Asked for inside a block that another value may switch off. */
  conditional: boolean
}

const LONGEST_FILE = 8 * 1024 * 1024
const LONGEST_ALL = 64 * 1024 * 1024
/** Characters that one template's values and loops may make, the inner ones of nested loops counted again. */
const MOST_CHARACTERS = 4 * LONGEST_FILE
const MOST_CALLS = 1_000_000
/** milliseconds, for all templates together */
const LONGEST_TIME = 30_000

/** What renders keep telling of, a line each. */
interface Findings {
  missing: Map<string, { key: string; template: string; line: number; hidden: string | undefined }>
  problems: string[]
  hint: string | undefined
}

/**
 * Renders every template before it returns anything. All absent keys and all faults of all
 * templates are one INPUT_INVALID: a line each, never with a value.
 */
export function renderAll(options: RenderOptions): RenderedFile[] {
  const findings: Findings = { missing: new Map(), problems: [], hint: undefined }
  const compile = createCompiler()
  const deadline = Date.now() + LONGEST_TIME
  const sorted = once(() => [...options.snapshot.keys()].sort(compareBytes))
  const rendered: RenderedFile[] = []
  let total = 0
  for (const template of options.templates) {
    const view = createView(template, options.snapshot, sorted)
    try {
      const compiled = compile(template)
      noteRequired(template, compiled, view, findings)
      const content = renderOne(template, compiled, view, options, deadline, findings)
      total += content.length
      if (total > LONGEST_ALL) throw fault('all files together are larger than 64 MiB')
      const { mode, uid, gid } = template
      const keys = [...view.used].sort(compareBytes)
      rendered.push({
        path: template.dest,
        content,
        mode,
        uid,
        gid,
        template: template.template,
        keys,
      })
    } catch (thrown) {
      const error = asFault(template, thrown)
      findings.problems.push(error.message)
      findings.hint ??= error.hint
    }
  }
  if (findings.missing.size === 0 && findings.problems.length === 0) return rendered
  throw summary(findings, options.environment)
}

/** Every constant key that the templates ask for without a default, sorted by template and line. */
export function requiredKeys(templates: readonly ConfigTemplate[]): RequiredKey[] {
  const compile = createCompiler()
  const found = new Map<string, RequiredKey>()
  for (const template of templates) {
    for (const { key, file, line, conditional } of compile(template).requirements) {
      const full = fullKey(template.prefix, key)
      const id = `${full}\0${file}\0${line}`
      const before = found.get(id)
      found.set(id, {
        key: full,
        template: file,
        line,
        conditional: conditional && (before?.conditional ?? true),
      })
    }
  }
  return [...found.values()].sort(
    (a, b) => compareBytes(a.template, b.template) || a.line - b.line || compareBytes(a.key, b.key),
  )
}

/** Keys as one template sees them: only those below its roots, without its prefix. */
interface View {
  value(key: string): string | undefined
  keys(): readonly string[]
  /** In the environment, but not below the roots. */
  hidden(key: string): boolean
  used: Set<string>
}

function createView(
  { prefix, roots }: ConfigTemplate,
  snapshot: ConfigSnapshot,
  sorted: () => readonly string[],
): View {
  const outermost = roots.filter(
    (root) => !roots.some((other) => other !== root && below(root, other)),
  )
  const unique = [...new Set(outermost)]
  const seen = (full: string) => unique.some((root) => below(full, root))
  const used = new Set<string>()
  const keys = once(() => {
    const found = unique
      .flatMap((root) => range(sorted(), root))
      .map((key) => shortKey(prefix, key))
    return unique.length > 1 ? found.sort(compareBytes) : found
  })
  return {
    used,
    keys,
    value(key) {
      const full = fullKey(prefix, key)
      const value = seen(full) ? snapshot.get(full) : undefined
      if (value !== undefined) used.add(full)
      return value
    },
    hidden: (key) => snapshot.has(fullKey(prefix, key)) && !seen(fullKey(prefix, key)),
  }
}

function below(key: string, root: string): boolean {
  return root === '/' || key === root || (key.startsWith(root) && key[root.length] === '/')
}

function fullKey(prefix: string, key: string): string {
  if (prefix === '/') return key
  return key === '/' ? prefix : prefix + key
}

function shortKey(prefix: string, key: string): string {
  return prefix === '/' ? key : key.slice(prefix.length) || '/'
}

/** The root itself and all keys below it; below it they are neighbours. */
function range(sorted: readonly string[], root: string): string[] {
  if (root === '/') return [...sorted]
  const first = firstFrom(sorted, `${root}/`)
  let last = first
  while (sorted[last]?.startsWith(`${root}/`)) last++
  const own = sorted[firstFrom(sorted, root)] === root ? [root] : []
  return [...own, ...sorted.slice(first, last)]
}

function firstFrom(sorted: readonly string[], key: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes(sorted[middle] ?? '', key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** What is certain to be missing, even if rendering stops early at something else. */
function noteRequired(
  template: ConfigTemplate,
  compiled: CompiledTemplate,
  view: View,
  findings: Findings,
): void {
  for (const { key, file, line, conditional } of compiled.requirements) {
    if (!conditional && view.value(key) === undefined) {
      noteMissing(template, view, findings, { key, file, line })
    }
  }
}

function noteMissing(
  { prefix, resource }: ConfigTemplate,
  view: View,
  { missing }: Findings,
  at: { key: string; file: string; line: number },
): void {
  const key = fullKey(prefix, at.key)
  const hidden = view.hidden(at.key) ? resource : undefined
  missing.set(`${key}\0${at.file}\0${at.line}`, { key, template: at.file, line: at.line, hidden })
}

function renderOne(
  template: ConfigTemplate,
  compiled: CompiledTemplate,
  view: View,
  options: RenderOptions,
  deadline: number,
  findings: Findings,
): Buffer {
  const session: Session = {
    value: view.value,
    keys: view.keys,
    env(name) {
      if (options.env) return options.env[name]
      throw fault(
        'no environment variables are given to templates here',
        'Keep the value in the config centre.',
      )
    },
    now: options.now ?? (() => new Date()),
    fileExists(path) {
      if (options.fileExists) return options.fileExists(path)
      throw fault('the files of the container are not known here', 'Use a key instead.')
    },
    limits: { characters: MOST_CHARACTERS, calls: MOST_CALLS, deadline },
    onMissing: (at) => noteMissing(template, view, findings, at),
  }
  const text = compiled.render(session)
  if (text.length > LONGEST_FILE) throw fault('the file is larger than 8 MiB')
  return Buffer.from(text)
}

/** A fault names its file; what Handlebars or the engine throws gets it here. */
function asFault({ template }: ConfigTemplate, thrown: unknown): StepError {
  const error = toStepError(thrown)
  if (error.message.startsWith('templates/')) return error
  return new StepError('INPUT_INVALID', `${template}: ${error.message}`, {
    hint: error.hint,
    cause: thrown,
  })
}

function summary({ missing, problems, hint }: Findings, environment: string): StepError {
  const all = [...missing.values()].sort(
    (a, b) => compareBytes(a.template, b.template) || a.line - b.line || compareBytes(a.key, b.key),
  )
  const lines = all.map(({ key, template, line, hidden }) =>
    hidden === undefined
      ? `key ${key} is missing in ${environment} (${template}:${line})`
      : `key ${key} is in ${environment}, but not below the keys of ${hidden} (${template}:${line})`,
  )
  const unset = all.find((item) => item.hidden === undefined)
  const advice =
    unset !== undefined
      ? `crosscloud config set --env ${environment} ${unset.key} VALUE`
      : all.length > 0
        ? 'Add the key to keys in the template resource.'
        : hint
  return new StepError('INPUT_INVALID', [...lines, ...new Set(problems)].join('\n'), {
    hint: advice,
  })
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}
