import { readFile } from 'node:fs/promises'
import { isScalar, parseAllDocuments, Scalar, visit } from 'yaml'
import { template } from './gitlab.ts'

// What GitLab makes of a .gitlab-ci.yml: includes with inputs, `extends`, `!reference`.

type Tree = { [key: string]: unknown }

export interface Job {
  stage?: string
  before_script?: string[]
  script: string[]
  variables?: Record<string, string | { value: string; expand?: boolean }>
  needs?: (string | { job: string; artifacts?: boolean; optional?: boolean })[]
  cache?: { key: string; paths: string[] }
  artifacts?: {
    when?: string
    paths?: string[]
    reports?: { dotenv?: string; junit?: string }
  }
  environment?: { name: string; action?: string }
  retry?: { max: number; exit_codes: number }
}

interface Include {
  project?: string
  ref?: string
  file?: string
  local?: string
  inputs?: Tree
}

interface Input {
  type?: string
  default?: unknown
  options?: unknown[]
  regex?: string
}

/** The jobs of a pipeline; every include is one of our templates, whatever project it names. */
export async function expandPipeline(text: string): Promise<Record<string, Job>> {
  const { include = [], ...own } = read(text) as { include?: Include[] } & Tree
  let all: Tree = {}
  for (const { file, local, inputs = {} } of include) {
    const name = /([\w-]+)\.yml$/.exec(file ?? local ?? '')?.[1] ?? ''
    all = merge(all, fill(await readFile(template(name), 'utf8'), name, inputs))
  }
  all = merge(all, own)
  const extended = Object.fromEntries(Object.keys(all).map((name) => [name, extend(all, name, [])]))
  const jobs = Object.entries(extended).filter(
    ([name]) => !name.startsWith('.') && name !== 'stages',
  )
  return Object.fromEntries(jobs.map(([name, job]) => [name, dereference(job, extended) as Job]))
}

class Reference {
  readonly path: readonly string[]
  constructor(path: readonly string[]) {
    this.path = path
  }
}

/** A scalar array tagged `!reference` becomes a Reference. */
function read(text: string): Tree {
  const tagged = parseAllDocuments(text).at(-1)
  if (!tagged) throw new Error('there is no YAML document')
  if (tagged.errors[0]) throw tagged.errors[0]
  visit(tagged, {
    Seq(_key, node) {
      if (node.tag !== '!reference') return undefined
      const path = node.items.map((item) => (isScalar(item) ? String(item.value) : ''))
      return new Scalar(new Reference(path))
    },
  })
  return tagged.toJS() as Tree
}

/** A template with its inputs put in, where GitLab would take them. */
function fill(text: string, name: string, given: Tree): Tree {
  const header = parseAllDocuments(text)[0]?.toJS() as { spec: { inputs: Record<string, Input> } }
  const known = header.spec.inputs
  for (const input of Object.keys(given)) {
    if (!known[input]) throw new Error(`${name} has no input ${input}`)
  }
  const values = new Map<string, unknown>()
  for (const [input, { default: value, options, regex }] of Object.entries(known)) {
    const chosen = given[input] ?? value
    if (chosen === undefined) throw new Error(`${name} needs the input ${input}`)
    if (options && !options.includes(chosen)) throw new Error(`${name}: ${input} is no option`)
    if (regex && !new RegExp(regex).test(String(chosen))) {
      throw new Error(`${name}: ${input} does not match ${regex}`)
    }
    values.set(input, chosen)
  }
  return interpolate(read(text), values) as Tree
}

const WHOLE = /^\$\[\[ inputs\.([\w-]+) \]\]$/
const PART = /\$\[\[ inputs\.([\w-]+) \]\]/g

function interpolate(value: unknown, inputs: ReadonlyMap<string, unknown>): unknown {
  if (typeof value === 'string') {
    const [, whole] = WHOLE.exec(value) ?? []
    if (whole) return inputs.get(whole)
    return value.replace(PART, (_all, name: string) => String(inputs.get(name)))
  }
  if (Array.isArray(value)) return value.map((item) => interpolate(item, inputs))
  if (!isTree(value)) return value
  const text = (key: string) => String(interpolate(key, inputs))
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [text(key), interpolate(item, inputs)]),
  )
}

function extend(all: Tree, name: string, below: readonly string[]): unknown {
  const job = all[name]
  if (!isTree(job) || job.extends === undefined) return job
  const parent = String(job.extends)
  if (below.includes(parent) || !(parent in all)) throw new Error(`${name} extends ${parent}`)
  const { extends: _parent, ...own } = job
  return merge(extend(all, parent, [...below, name]) as Tree, own)
}

/** References are lines that stand in another job; they are put in their place. */
function dereference(value: unknown, all: Tree): unknown {
  if (Array.isArray(value)) {
    return value.flatMap((item) => dereference(item, all))
  }
  if (value instanceof Reference) {
    const found = value.path.reduce<unknown>((at, key) => (isTree(at) ? at[key] : undefined), all)
    if (found === undefined) throw new Error(`!reference ${value.path.join(' ')} leads nowhere`)
    return dereference(found, all)
  }
  if (!isTree(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, dereference(item, all)]),
  )
}

/** Maps are merged deeply, all else is replaced: https://docs.gitlab.com/ci/yaml/yaml_optimization/ */
function merge(below: Tree, above: Tree): Tree {
  const merged = { ...below }
  for (const [key, value] of Object.entries(above)) {
    const before = merged[key]
    merged[key] = isTree(before) && isTree(value) ? merge(before, value) : value
  }
  return merged
}

function isTree(value: unknown): value is Tree {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Reference)
  )
}
