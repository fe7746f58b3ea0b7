import { readFile } from 'node:fs/promises'
import type { z } from 'zod'
import { errorCodeOf, explain, StepError } from '../errors.ts'
import type { Secrets } from '../secrets.ts'
import { issueLines } from './schema.ts'
import {
  type Gap,
  guardGaps,
  isPrefix,
  putVariables,
  SET_VARIABLES,
  stateOf,
  unset,
  type VariableSource,
  type VariableUse,
} from './settings-variables.ts'

/** A settings file: its text, its name, and the page that explains it. */
export interface SettingsText {
  text: string
  name: string
  page: string
  /** Read only this part: the variables of the others need not be set. */
  only?: string
  /** Whether a setting is public by its nature: a variable in it is not masked. */
  isShown?: (path: readonly string[]) => boolean
  /** Called with an empty variable, when it is first used, and with the settings that name it. */
  onEmpty?: (variable: string, settings: readonly string[]) => void
  /** Variables that settings name without `${…}`, in the file's values as they were written. */
  named?: (values: unknown) => { name: string; path: readonly string[] }[]
}

export async function readSettingsText(path: string, hint: string): Promise<string> {
  return readFile(path, 'utf8').catch((error) => {
    if (errorCodeOf(error) === 'EISDIR') {
      throw new StepError('INPUT_INVALID', `${path} is a folder`, { hint: 'Name the file in it.' })
    }
    if (errorCodeOf(error) !== 'ENOENT') throw explain(`reading ${path}`, error)
    throw new StepError('INPUT_INVALID', `${path} does not exist`, { hint })
  })
}

/** A settings file whose missing variables are reported when they are used. */
export interface OpenedSettings<T> {
  data: T
  /** Every variable in it, in the order of the file, with its line. */
  variables: readonly (VariableUse & { line: number })[]
}

/**
 * Reads YAML with variables in it against a schema; INPUT_INVALID names every line that is wrong,
 * and every variable that is not set.
 */
export async function parseYamlSettings<Schema extends z.ZodType>(
  schema: Schema,
  file: SettingsText,
  variables: VariableSource['variables'],
  secrets: Secrets,
): Promise<z.output<Schema>> {
  const read = await readYaml(file, { variables, secrets, isShown: file.isShown })
  const lacking = read.uses.filter(({ state }) => state === 'unset')
  const { data, problems } = evaluate(schema, read, lacking)
  const missing = missingLines(read, lacking)
  if (missing.length + problems.length === 0) return data
  const advice = [
    ...(missing.length > 0 ? [SET_VARIABLES] : []),
    ...(problems.length > 0 ? [correctLines(file.page)] : []),
  ]
  throw invalid([...missing, ...problems], advice.join('\n'))
}

/**
 * The same, but a variable that is not set is reported when a setting with it is used: a job has
 * only the variables it needs.
 */
export async function openYamlSettings<Schema extends z.ZodType>(
  schema: Schema,
  file: SettingsText,
  variables: VariableSource['variables'],
  secrets: Secrets,
): Promise<OpenedSettings<z.output<Schema>>> {
  const read = await readYaml(file, { variables, secrets, isShown: file.isShown })
  const lacking = read.uses.filter(({ state }) => state === 'unset' || state === 'empty')
  const { data, problems, unusable } = evaluate(schema, read, lacking)
  if (problems.length > 0) throw invalid(problems, correctLines(file.page))
  return {
    data: guardGaps(data, gapsOf(read, lacking, unusable, file)),
    variables: [...read.uses, ...namedUses(file, read, variables)]
      .map((use) => ({ ...use, line: read.line(use.path) ?? 1 }))
      .sort((a, b) => a.line - b.line),
  }
}

/** What uses such a variable reports itself that it is not set. */
function namedUses(
  { named }: SettingsText,
  { values }: ReadYaml,
  variables: VariableSource['variables'],
): VariableUse[] {
  const found = named?.(values) ?? []
  return found.map((use) => ({ ...use, state: stateOf(variables[use.name]) }))
}

interface ReadYaml {
  name: string
  values: unknown
  uses: VariableUse[]
  line(path: readonly string[]): number | undefined
}

async function readYaml(
  { text, name, page, only }: SettingsText,
  source: VariableSource,
): Promise<ReadYaml> {
  const { isNode, LineCounter, parseDocument } = await import('yaml')
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'error',
  })
  const lineAt = (offset: number) => lines.linePos(offset).line
  // What follows an unexpected token is read wrongly: only the first is true.
  const stray = document.errors.findIndex(({ code }) => code === 'UNEXPECTED_TOKEN')
  const errors = stray < 0 ? document.errors : document.errors.slice(0, stray + 1)
  const broken = errors.map(({ pos, message }) => `${name}:${lineAt(pos[0])} ${message}`)
  if (broken.length > 0) throw invalid(broken, correctLines(page))
  const all = document.toJS() ?? {}
  const { values, uses } = putVariables(only === undefined ? all : { [only]: all[only] }, source)
  return {
    name,
    values,
    uses,
    line(path) {
      let node: unknown
      for (let depth = path.length; depth > 0 && !isNode(node); depth--) {
        node = document.getIn(path.slice(0, depth).map(indexOrKey), true)
      }
      const offset = isNode(node) ? node.range?.[0] : undefined
      return offset === undefined ? undefined : lineAt(offset)
    },
  }
}

const placed = ({ name, line }: ReadYaml, path: readonly string[]) => {
  const number = line(path)
  return number === undefined ? name : `${name}:${number}`
}

/** A line for each variable, with the first place it is used at. */
function missingLines(read: ReadYaml, lacking: readonly VariableUse[]): string[] {
  const first = new Map(lacking.toReversed().map((use) => [use.name, use]))
  const names = new Set(lacking.map(({ name }) => name))
  return [...names].flatMap((name) => {
    const use = first.get(name)
    return use ? [`${placed(read, use.path)} ${stateText(use)}`] : []
  })
}

const stateText = ({ name, state }: VariableUse) =>
  `variable ${name} is ${state === 'empty' ? 'empty' : 'not set'}`

/** The problems that have nothing to do with variables, and the paths that lack a variable. */
function evaluate<Schema extends z.ZodType>(
  schema: Schema,
  read: ReadYaml,
  lacking: readonly VariableUse[],
): { data: z.output<Schema>; problems: string[]; unusable: (readonly string[])[] } {
  const result = schema.safeParse(read.values, { reportInput: true })
  if (result.success) return { data: result.data, problems: [], unusable: [] }
  const unusable: (readonly string[])[] = []
  const wrong = result.error.issues.filter((issue) => {
    const path = issue.path.map(String)
    const isOfVariable = lacking.some(
      (use) =>
        isPrefix(path, use.path) &&
        (path.length === use.path.length || issue.code === 'invalid_union'),
    )
    if (isOfVariable) unusable.push(path)
    return !isOfVariable
  })
  const problems = issueLines(wrong, schema).map(
    ({ path, text }) => `${placed(read, path)} ${path.join('.')} ${text}`,
  )
  return { data: partOf(schema, read.values), problems, unusable }
}

/** The valid part of the values; Zod's public functions return all or nothing. */
function partOf<Schema extends z.ZodType>(schema: Schema, values: unknown): z.output<Schema> {
  const part = schema._zod.run({ value: values, issues: [] }, { async: false })
  return (part as z.core.ParsePayload).value as z.output<Schema>
}

/**
 * A variable that is not set is an error on use; an empty variable only where the setting needs a
 * value.
 */
function gapsOf(
  read: ReadYaml,
  lacking: readonly VariableUse[],
  unusable: readonly (readonly string[])[],
  { onEmpty }: SettingsText,
): Gap[] {
  const reported = new Set<string>()
  const reportOnce = (name: string) => {
    if (reported.has(name)) return
    reported.add(name)
    const places = lacking.filter((use) => use.name === name).map(({ path }) => path.join('.'))
    onEmpty?.(name, [...new Set(places)])
  }
  return lacking.map((use): Gap => {
    const { name, state } = use
    const whole = unusable.find((path) => isPrefix(path, use.path))
    const stops = state === 'unset' || whole !== undefined
    const beside = lacking.filter(({ path }) => isPrefix(whole ?? use.path, path))
    return {
      path: whole ?? use.path,
      look() {
        if (stops) throw unset(missingLines(read, beside))
        reportOnce(name)
      },
    }
  })
}

function indexOrKey(part: string): string | number {
  return /^\d+$/.test(part) ? Number(part) : part
}

const correctLines = (page: string) => `Correct these lines. ${page} explains every setting.`

function invalid(problems: string[], hint: string): StepError {
  return new StepError('INPUT_INVALID', problems.join('\n'), { hint })
}
