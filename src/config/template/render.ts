import { StepError, toStepError } from '../../core/errors.ts'
import { compareBytes } from '../store/keys.ts'
import type { ConfigSnapshot } from '../store/store.ts'
import type { Session } from './language/runtime.ts'
import { templateError } from './language/values.ts'
import { type Lookups, lookupKey } from './lookups.ts'
import type { ConfigTemplate } from './resources.ts'
import type { CompiledTemplate, TemplateProgram } from './templates.ts'
import { createView, fullKey, once, sortKeys, type View } from './view.ts'

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
  /** The keys whose values were used, sorted. */
  keys: readonly string[]
}

export interface RenderOptions {
  templates: readonly CompiledTemplate[]
  /** All keys of the environment; each template sees those below its `keys`. */
  snapshot: ConfigSnapshot
  /** Keys that are there but cannot be decrypted, with the reason. */
  locked?: ReadonlyMap<string, string> | undefined
  /** The environment's name, for messages. */
  environment: string
  /** What `getenv` reads; without it, getenv is an error rather than always empty. */
  env?: Readonly<Record<string, string | undefined>> | undefined
  /** The clock of `datetime`. */
  now?: (() => Date) | undefined
  /** For `fileExists`: only the caller knows which machine is meant. */
  fileExists?: ((path: string) => boolean) | undefined
  /** What `slot` writes for a value of the container's slot; without it, slot is an error. */
  slot?: ((name: string) => string) | undefined
  /** Results of name lookups, see prefetchLookups. */
  lookups?: Lookups | undefined
}

export interface Rendered {
  files: RenderedFile[]
  /** Lines to show, sorted: constant patterns that no key matches. */
  warnings: string[]
}

const LONGEST_FILE = 8 * 1024 * 1024
const LONGEST_ALL = 64 * 1024 * 1024
/** The most characters that a template's values and loops may make; nested loops count again. */
const MOST_CHARACTERS = 4 * LONGEST_FILE
const MOST_CALLS = 1_000_000
/** milliseconds, for all templates together */
const LONGEST_TIME = 30_000

interface Place {
  file: string
  line: number
}
interface MissingKey extends Place {
  key: string
  /** Why it is missing, where it is in the environment all the same. */
  why: 'absent' | 'locked' | 'hidden'
  text: string
}

/** What rendering has found so far, a line each. */
interface Findings {
  missing: Map<string, MissingKey>
  problems: StepError[]
  warnings: Map<string, Place & { text: string }>
}

/**
 * Renders every template before it returns anything. All absent keys and all errors of all
 * templates are one INPUT_INVALID (UNAVAILABLE if only the network failed): a line each, never with
 * a value.
 */
export function renderAll(options: RenderOptions): Rendered {
  const findings: Findings = { missing: new Map(), problems: [], warnings: new Map() }
  const deadline = Date.now() + LONGEST_TIME
  const { snapshot, locked = new Map() } = options
  const sorted = once(() => sortKeys([...snapshot.keys(), ...locked.keys()]))
  const files: RenderedFile[] = []
  let total = 0
  for (const { resource, program } of options.templates) {
    const view = createView(resource, snapshot, sorted)
    try {
      if (program instanceof StepError) throw program
      const job: Job = { resource, program, view, options, deadline, findings }
      noteRequired(job)
      const content = renderTemplate(job)
      total += content.length
      if (total > LONGEST_ALL) throw templateError('all files together are larger than 64 MiB')
      const { dest: path, template, mode, uid, gid } = resource
      const keys = sortKeys([...view.used])
      files.push({ path, content, mode, uid, gid, template, keys })
    } catch (thrown) {
      findings.problems.push(withFile(resource, thrown))
    }
  }
  if (findings.missing.size === 0 && findings.problems.length === 0) {
    return { files, warnings: inOrder(findings.warnings.values()).map(({ text }) => text) }
  }
  throw summary(findings, options.environment)
}

function inOrder<T extends Place & { key?: string; text?: string }>(items: Iterable<T>): T[] {
  const name = ({ key, text = '' }: T) => key ?? text
  return [...items].sort(
    (a, b) => compareBytes(a.file, b.file) || a.line - b.line || compareBytes(name(a), name(b)),
  )
}

/** The rendering of one template. */
interface Job {
  resource: ConfigTemplate
  program: TemplateProgram
  view: View
  options: RenderOptions
  deadline: number
  findings: Findings
}

/** Records the keys that are certainly missing, even if rendering stops early at another error. */
function noteRequired(job: Job): void {
  for (const { key, file, line, conditional } of job.program.requirements) {
    if (!conditional && job.view.value(key) === undefined) noteMissing(job, { key, file, line })
  }
}

function noteMissing(
  { resource, view, options, findings }: Job,
  { key: short, file, line }: { key: string } & Place,
): void {
  const key = fullKey(resource.prefix, short)
  const { environment, locked, snapshot } = options
  const reason = locked?.get(key)
  const place = `(${file}:${line})`
  const record = (why: MissingKey['why'], text: string) =>
    findings.missing.set(`${key}\0${file}\0${line}`, { key, file, line, why, text })
  if (!view.seen(short) && (snapshot.has(key) || reason !== undefined)) {
    const keys = `the keys of ${resource.resource}`
    record('hidden', `key ${key} is in ${environment}, but not below ${keys} ${place}`)
  } else if (reason !== undefined) {
    record('locked', `key ${key} in ${environment} cannot be decrypted: ${reason} ${place}`)
  } else record('absent', `key ${key} is missing in ${environment} ${place}`)
}

/** Only for a constant pattern whose empty result the template does not handle. */
function noteNothing(
  { resource, program, options, findings }: Job,
  { pattern, file, line }: { pattern: string } & Place,
): void {
  const written = program.needs.get(file)?.patterns ?? []
  if (!written.some((constant) => constant.pattern === pattern && constant.line === line)) return
  const full = fullKey(resource.prefix, pattern)
  const text = `no key in ${options.environment} matches ${full} (${file}:${line})`
  findings.warnings.set(text, { file, line, text })
}

function renderTemplate(job: Job): Buffer {
  const { program, view, options, deadline } = job
  const session: Session = {
    value: view.value,
    keys: view.keys,
    locked: (key) =>
      view.seen(key) && (options.locked?.has(fullKey(job.resource.prefix, key)) ?? false),
    env(name) {
      if (options.env) return options.env[name]
      throw templateError(
        'no environment variables are given to templates here',
        'Keep the value in the config centre.',
      )
    },
    now: options.now ?? (() => new Date()),
    fileExists(path) {
      if (options.fileExists) return options.fileExists(path)
      throw templateError('the files of the container are not known here', 'Use a key instead.')
    },
    slot(name) {
      if (options.slot) return options.slot(name)
      throw templateError('the slots of the container are not known here', 'Use a key instead.')
    },
    lookup: (query) => lookupResult(options.lookups, query),
    limits: { characters: MOST_CHARACTERS, calls: MOST_CALLS, deadline },
    onMissing: (at) => noteMissing(job, at),
    onNothing: (found) => noteNothing(job, found),
  }
  const text = program.render(session)
  if (text.length > LONGEST_FILE) throw templateError('the file is larger than 8 MiB')
  return Buffer.from(text)
}

function lookupResult(lookups: Lookups | undefined, query: readonly string[]) {
  const result = lookups?.get(lookupKey(query))
  if (result instanceof StepError) throw result
  if (result !== undefined) return result
  throw lookups === undefined
    ? templateError('the network is not asked here', 'Keep the address in the config centre.')
    : templateError(
        'only a name that is written in the template can be looked up',
        'Write it in quotes.',
      )
}

/** Adds the file's name to errors of Handlebars or the engine, which lack it. */
function withFile({ template }: ConfigTemplate, thrown: unknown): StepError {
  const error = toStepError(thrown)
  if (error.message.startsWith('templates/')) return error
  const code = error.code === 'UNAVAILABLE' ? error.code : 'INPUT_INVALID'
  return new StepError(code, `${template}: ${error.message}`, { hint: error.hint, cause: thrown })
}

function summary({ missing, problems }: Findings, environment: string): StepError {
  const all = inOrder(missing.values())
  const lines = [...all.map(({ text }) => text), ...problems.map(({ message }) => message)]
  const advice: [MissingKey['why'], (key: string) => string][] = [
    ['absent', (key) => `Set it: \`crosscloud config set --env ${environment} ${key} VALUE\`.`],
    ['hidden', () => 'Add the key to keys in the template resource.'],
    ['locked', () => 'Give the key these values were encrypted with in CROSSCLOUD_CONFIG_KEY.'],
  ]
  const [hint] = advice.flatMap(([kind, text]) => {
    const first = all.find(({ why }) => why === kind)
    return first ? [text(first.key)] : []
  })
  const passing = all.length === 0 && problems.every(({ code }) => code === 'UNAVAILABLE')
  return new StepError(passing ? 'UNAVAILABLE' : 'INPUT_INVALID', [...new Set(lines)].join('\n'), {
    hint: hint ?? problems.find((problem) => problem.hint)?.hint,
  })
}
