import { lstatSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { join, posix, sep } from 'node:path'
import { parse, TomlError } from 'smol-toml'
import { explain, StepError, throwIfCancelled } from '../../core/errors.ts'
import { didYouMean } from '../../core/settings/suggest.ts'
import { joinKey } from '../store/keys.ts'

/** Files by path relative to the template folder, `/` between: `conf.d/app.toml`. */
export type TemplateFiles = ReadonlyMap<string, Buffer>

/** A file to render: a `[template]` of confd, read and checked. */
export interface ConfigTemplate {
  /** `conf.d/app.toml` */
  resource: string
  /** `templates/app.properties.hbs` */
  template: string
  /** Everything below `templates/`: the template and the partials it may include. */
  files: TemplateFiles
  /** Absolute path inside the container. */
  dest: string
  /** Stripped from keys before the template sees them: `/webapi`, or `/`. */
  prefix: string
  /** Full keys: the template sees the keys at or below any of them. */
  roots: readonly string[]
  mode: number
  uid: number
  gid: number
  checkCmd: string | undefined
  reloadCmd: string | undefined
}

const LARGEST_FILE = 1024 * 1024
const LARGEST_FOLDER = 16 * 1024 * 1024
const MOST_FILES = 5000
const HIGHEST_ID = 2 ** 32 - 2
const known = ['src', 'dest', 'keys', 'prefix', 'mode', 'uid', 'gid', 'check_cmd', 'reload_cmd']
const CONTROL = /\p{Cc}/u

/**
 * Reads the files of a template folder. Symbolic links to files inside it are followed, all others
 * refused; so is more than 1 MiB a file, 16 MiB or 5000 files in all. NOT_FOUND names the folder.
 */
export async function readTemplateFolder(
  folder: string,
  signal?: AbortSignal,
): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>()
  let total = 0
  const refuse = (path: string, why: string) =>
    new StepError('INPUT_INVALID', `${join(folder, path)}: ${why}`, {
      hint: 'A template folder holds conf.d/ and templates/, and only small files.',
    })
  const root = await realpath(folder).catch((error: unknown) => {
    throw explain(`template folder ${folder}`, error)
  })
  const readOne = (path: string, isLink: boolean): void => {
    const full = join(root, path)
    const real = isLink ? realpathSync(full) : full
    if (isLink && !real.startsWith(root + sep))
      throw refuse(path, 'the link leads out of the template folder')
    const status = lstatSync(real)
    if (!status.isFile()) throw refuse(path, 'not a file')
    total += status.size
    if (status.size > LARGEST_FILE) throw refuse(path, 'larger than 1 MiB')
    if (total > LARGEST_FOLDER || files.size >= MOST_FILES)
      throw refuse('', 'too many or too large files')
    files.set(path, readFileSync(real))
  }
  // Read synchronously: for hundreds of small files the thread pool costs more than the read.
  const readBelow = (path: string): void => {
    throwIfCancelled(signal)
    const entries = readdirSync(join(root, path), { withFileTypes: true })
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const below = path === '' ? entry.name : `${path}/${entry.name}`
      if (entry.isDirectory()) readBelow(below)
      else readOne(below, entry.isSymbolicLink())
    }
  }
  try {
    readBelow('')
  } catch (error) {
    throw error instanceof StepError ? error : explain(`template folder ${folder}`, error)
  }
  return files
}

/** A resource being read; `problem` adds to the list of all problems. */
interface Reading {
  file: string
  fields: Record<string, unknown>
  problem(key: string | undefined, text: string): void
}

/**
 * Reads confd's template resources, sorted by path. All their problems are one
 * INPUT_INVALID: a line each, with file and line. A folder without resources is an error as well.
 */
export function readTemplates(source: TemplateFiles): ConfigTemplate[] {
  const problems: string[] = []
  const templates = new Map([...source].filter(([path]) => path.startsWith('templates/')))
  const resources = [...source.keys()].filter((path) => /^conf\.d\/.*\.toml$/.test(path)).sort()
  const read: ConfigTemplate[] = []
  for (const file of resources) {
    const text = (source.get(file) ?? Buffer.alloc(0)).toString('utf8')
    const fields = parseResource(file, text, problems)
    if (fields === undefined) continue
    const problem = (key: string | undefined, what: string) => {
      const line = key === undefined ? undefined : lineOf(text, key)
      problems.push(`${file}${line === undefined ? '' : `:${line}`}: ${what}`)
    }
    const template = readResource({ file, fields, problem }, templates)
    if (template) read.push(template)
  }
  if (resources.length === 0) problems.push('there is no template resource (conf.d/*.toml)')
  problems.push(...collisions(read))
  if (problems.length === 0) return read
  throw new StepError('INPUT_INVALID', problems.join('\n'), {
    hint: 'Correct these template resources; their format is confd’s.',
  })
}

function parseResource(
  file: string,
  text: string,
  problems: string[],
): Record<string, unknown> | undefined {
  try {
    const { template, ...others } = parse(text)
    for (const name of Object.keys(others)) {
      const why = known.includes(name)
        ? `${name} belongs below [template]`
        : `${name} is not known${didYouMean(name, ['template', ...known])}`
      problems.push(`${file}:${lineOf(text, name) ?? 1}: ${why}`)
    }
    if (isTable(template)) return template
    problems.push(`${file}: there is no [template]`)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const [why = 'not TOML'] = error.message.replace(/^Invalid TOML document: /, '').split('\n')
    problems.push(`${file}:${error.line}: ${why}`)
  }
  return undefined
}

function isTable(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
  )
}

function readResource(reading: Reading, templates: TemplateFiles): ConfigTemplate | undefined {
  let valid = true
  const strict: Reading = {
    ...reading,
    problem(key, text) {
      valid = false
      reading.problem(key, text)
    },
  }
  for (const name of Object.keys(reading.fields)) {
    if (!known.includes(name))
      strict.problem(name, `${name} is not known${didYouMean(name, known)}`)
  }
  const template = readSource(strict, templates)
  const dest = readDest(strict)
  const prefix = joinKey(text(strict, 'prefix') ?? '/')
  const result = {
    resource: reading.file,
    template,
    files: templates,
    dest,
    prefix,
    roots: readKeys(strict).map((key) => joinKey(prefix, key)),
    mode: readMode(strict),
    uid: readId(strict, 'uid'),
    gid: readId(strict, 'gid'),
    checkCmd: text(strict, 'check_cmd'),
    reloadCmd: text(strict, 'reload_cmd'),
  }
  return valid ? result : undefined
}

function text({ fields, problem }: Reading, name: string): string | undefined {
  const value = fields[name]
  if (value === undefined) return undefined
  if (typeof value !== 'string') problem(name, `${name} must be a string`)
  else if (value.includes('\0')) problem(name, `${name} has a NUL`)
  else return value
  return undefined
}

function required(reading: Reading, name: string): string | undefined {
  if (reading.fields[name] === undefined) reading.problem('template', `${name} is missing`)
  return text(reading, name)
}

function readSource(reading: Reading, templates: TemplateFiles): string {
  const src = required(reading, 'src')
  if (src === undefined) return ''
  const path = posix.normalize(`templates/${src}`)
  if (src.startsWith('/') || src.split('/').includes('..') || !path.startsWith('templates/')) {
    reading.problem('src', `src "${src}" leads out of templates/`)
  } else if (!templates.has(path)) {
    const names = [...templates.keys()].map((name) => name.slice('templates/'.length))
    reading.problem('src', `there is no ${path}${didYouMean(src, names)}`)
  }
  return path
}

function readDest(reading: Reading): string {
  const dest = required(reading, 'dest')
  if (dest === undefined) return ''
  const problem = destProblem(dest)
  if (problem) reading.problem('dest', `dest ${JSON.stringify(dest)} ${problem}`)
  return dest
}

/** What is wrong with an absolute path inside a container, or undefined. */
export function destProblem(dest: string): string | undefined {
  if (!dest.startsWith('/')) return 'is not an absolute path'
  if (CONTROL.test(dest)) return 'has a control character'
  if (Buffer.byteLength(dest) > 4095) return 'is too long'
  const segments = dest.slice(1).split('/')
  if (segments.includes('..') || segments.includes('.')) return 'has a . or .. in it'
  if (segments.includes('')) return 'has an empty part; it must name a file'
  if (segments.some((segment) => Buffer.byteLength(segment) > 255))
    return 'has a name that is too long'
  return undefined
}

/** Absent: all below the prefix. An empty list sees nothing, as in confd. */
function readKeys({ fields, problem }: Reading): string[] {
  const { keys } = fields
  if (keys === undefined) return ['/']
  if (Array.isArray(keys) && keys.every((key) => typeof key === 'string')) return keys
  problem('keys', 'keys must be a list of strings')
  return []
}

function readMode({ fields, problem }: Reading): number {
  const { mode } = fields
  if (mode === undefined) return 0o644
  if (typeof mode === 'string' && /^0?[0-7]{3}$/.test(mode)) return Number.parseInt(mode, 8)
  problem('mode', 'mode must be a string of octal digits, such as "0644"')
  return 0
}

function readId({ fields, problem }: Reading, name: 'uid' | 'gid'): number {
  const id = fields[name]
  if (id === undefined) return 0
  if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= HIGHEST_ID) return id
  problem(name, `${name} must be a whole number from 0 on`)
  return 0
}

function collisions(templates: readonly ConfigTemplate[]): string[] {
  const problems: string[] = []
  const owners = new Map<string, string>()
  for (const { dest, resource } of templates) {
    const owner = owners.get(dest)
    if (owner) problems.push(`${resource}: dest ${dest} is also that of ${owner}`)
    else owners.set(dest, resource)
  }
  for (const [dest, resource] of owners) {
    for (let parent = posix.dirname(dest); parent !== '/'; parent = posix.dirname(parent)) {
      const owner = owners.get(parent)
      if (owner) problems.push(`${resource}: dest ${dest} is below ${parent}, a file of ${owner}`)
    }
  }
  return problems
}

/** The line where a field or table begins. */
function lineOf(source: string, name: string): number | undefined {
  const at = source.split('\n').findIndex((line) => {
    const [left = ''] = line.trim().split('=')
    return left.replace(/["'[\]\s]/g, '') === name
  })
  return at < 0 ? undefined : at + 1
}
