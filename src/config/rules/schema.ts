import type { ErrorObject, SchemaObject, ValidateFunction } from 'ajv'
import { describe, StepError } from '../../core/errors.ts'
import { keyProblem } from '../store/keys.ts'
import type { ConfigSnapshot } from '../store/store.ts'
import type { TemplateFiles } from '../template/resources.ts'

/** The keys of an application's config, and the types of their values. */
export interface ConfigSchema {
  /** `config.schema.yaml` */
  file: string
  /** The problems of these values, a line each, never with a value. */
  check(values: ConfigSnapshot): string[]
  /** The required keys that are missing, a line each. `present` includes encrypted keys. */
  missing(present: ReadonlySet<string>): string[]
  secret(key: string): boolean | undefined
}

/** In the template folder; the first existing file counts. */
export const SCHEMA_FILES = ['config.schema.json', 'config.schema.yaml', 'config.schema.yml']

const KINDS = ['string', 'integer', 'number', 'boolean']
const FORMATS = ['uri', 'hostname', 'ipv4', 'ipv6', 'email', 'date', 'date-time', 'duration']

/**
 * Reads the schema of a template folder, if it has one: a JSON Schema of an object whose properties
 * are full keys, or the compact form, a line a key (docs/config.md). In both `secret: true` marks a
 * secret, and `*` in a compact key matches one segment.
 */
export async function readConfigSchema(files: TemplateFiles): Promise<ConfigSchema | undefined> {
  const file = SCHEMA_FILES.find((name) => files.has(name))
  if (file === undefined) return undefined
  const { parse } = await import('yaml')
  let document: unknown
  try {
    document = parse((files.get(file) ?? Buffer.alloc(0)).toString('utf8')) ?? {}
  } catch (error) {
    throw invalid(file, describe(error).split('\n')[0] ?? '')
  }
  if (!isObject(document)) throw invalid(file, 'it must map keys to their descriptions')
  if (isJsonSchema(document)) return compile(file, document, false)
  return compile(file, expand(file, document), true)
}

function isJsonSchema(document: object): boolean {
  return Object.keys(document).some((name) => !name.startsWith('/'))
}

/** The compact form as JSON Schema. */
function expand(file: string, document: Record<string, unknown>): SchemaObject {
  const properties: Record<string, unknown> = {}
  const patternProperties: Record<string, unknown> = {}
  const required: string[] = []
  const problems: string[] = []
  for (const [key, given] of Object.entries(document)) {
    const problem = keyProblem(key)
    if (problem) problems.push(`${key}: ${problem}`)
    const rule = typeof given === 'string' ? shorthand(key, given, problems) : given
    if (!isObject(rule)) {
      problems.push(`${key}: write a kind (integer) or its rules ({ type: integer, minimum: 1 })`)
      continue
    }
    const { required: needed, ...rest }: Record<string, unknown> = { type: 'string', ...rule }
    if (needed === true) required.push(key)
    if (!key.includes('*')) properties[key] = rest
    else if (needed === true) problems.push(`${key}: a key with * cannot be required`)
    else patternProperties[patternOf(key)] = rest
  }
  if (problems.length > 0) throw invalid(file, problems.join('\n'))
  return { type: 'object', properties, patternProperties, required }
}

/** `integer`, `secret`, `hostname required`: kind, format and marks in any order. */
function shorthand(key: string, text: string, problems: string[]) {
  const rule: Record<string, unknown> = {}
  for (const word of text.split(/\s+/).filter(Boolean)) {
    if (KINDS.includes(word)) rule.type = word
    else if (FORMATS.includes(word)) rule.format = word
    else if (word === 'secret' || word === 'required') rule[word] = true
    else
      problems.push(
        `${key}: "${word}" is not known; use ${[...KINDS, ...FORMATS].join(', ')}, secret or required`,
      )
  }
  return rule
}

function patternOf(key: string): string {
  const escaped = key.replace(/[\\^$.+?()[\]{}|]/g, '\\$&')
  return `^${escaped.replaceAll('*', '[^/]*')}$`
}

async function compile(
  file: string,
  schema: SchemaObject,
  strictTypes: boolean,
): Promise<ConfigSchema> {
  const { Ajv } = await import('ajv')
  const { default: addFormats } = await import('ajv-formats')
  const ajv = new Ajv({ allErrors: true, strict: true, strictTypes, ownProperties: true })
  addFormats.default(ajv)
  ajv.addKeyword({ keyword: 'secret', schemaType: 'boolean' })
  const { required = [], ...rules } = schema as { required?: string[] } & SchemaObject
  let validate: ValidateFunction
  try {
    validate = ajv.compile({ ...rules, $async: false })
  } catch (error) {
    throw invalid(file, describe(error))
  }
  const subschemas = [
    ...Object.entries(rules.properties ?? {}).map(([key, rule]) => ({
      matches: (name: string) => name === key,
      rule,
    })),
    ...Object.entries(rules.patternProperties ?? {}).map(([pattern, rule]) => {
      const expression = new RegExp(pattern, 'u')
      return { matches: (name: string) => expression.test(name), rule }
    }),
  ]
  const rulesOf = (key: string) =>
    subschemas.flatMap(({ matches, rule }) => (isObject(rule) && matches(key) ? [rule] : []))
  return {
    file,
    check(values) {
      const typed = [...values].map(([key, text]) => [key, readAs(rulesOf(key)[0]?.type, text)])
      if (validate(Object.fromEntries(typed))) return []
      return [...new Set((validate.errors ?? []).map((error) => problemText(file, error)))].sort()
    },
    missing: (present) =>
      required
        .filter((key) => !present.has(key))
        .map((key) => `key ${key} is missing; ${file} requires it`),
    secret(key) {
      for (const rule of rulesOf(key)) {
        if (typeof rule.secret === 'boolean') return rule.secret
        if (rule.writeOnly === true) return true
      }
      return undefined
    },
  }
}

/** Values are texts; a text that has exactly the form of the wanted type gets that type. */
function readAs(kind: unknown, text: string): unknown {
  if (kind === 'boolean' && /^(?:true|false)$/.test(text)) return text === 'true'
  if (kind === 'integer' && /^-?\d{1,15}$/.test(text)) return Number(text)
  if (kind === 'number' && /^-?\d+(?:\.\d+)?$/.test(text)) return Number(text)
  return text
}

/** Ajv's messages name the rule, never the value. */
function problemText(
  file: string,
  { instancePath, keyword, message, params }: ErrorObject,
): string {
  const key = instancePath.slice(1).replaceAll('~1', '/').replaceAll('~0', '~')
  if (keyword === 'additionalProperties') {
    const { additionalProperty } = params as { additionalProperty: string }
    return `key ${additionalProperty} is not in ${file}`
  }
  const choices =
    keyword === 'enum'
      ? `: ${(params as { allowedValues: unknown[] }).allowedValues.join(', ')}`
      : ''
  return `key ${key} ${message}${choices} (${file})`
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(file: string, why: string): StepError {
  const message = why.split('\n').map((line) => `${file}: ${line}`)
  return new StepError('INPUT_INVALID', message.join('\n'), {
    hint: 'docs/config.md shows both forms of a config schema.',
  })
}
