import { z } from 'zod'
import { StepError } from '../core/errors.ts'
import { variableName } from './inputs.ts'

/** One input of a step as the surfaces see it, read from its JSON schema. */
export interface InputField {
  name: string
  type: 'string' | 'boolean' | 'number' | 'array' | 'object'
  description: string
  default: unknown
  choices: string[] | undefined
  /** Of a text: what it must look like. */
  pattern: string | undefined
  required: boolean
}

interface Property {
  type?: string
  description?: string
  default?: unknown
  enum?: string[]
  pattern?: string
}

/** The inputs or outputs of a step, in the order they were defined. */
export function fieldsOf(schema: z.ZodObject, io: 'input' | 'output' = 'input'): InputField[] {
  const json = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as {
    properties?: Record<string, Property>
    required?: string[]
  }
  return Object.entries(json.properties ?? {}).map(([name, property]) => ({
    name,
    type: typeOf(property),
    description: property.description ?? '',
    default: property.default,
    choices: property.enum,
    pattern: property.pattern,
    required: json.required?.includes(name) ?? false,
  }))
}

function typeOf({ type }: Property): InputField['type'] {
  if (type === 'boolean' || type === 'array' || type === 'object') return type
  return type === 'number' || type === 'integer' ? 'number' : 'string'
}

/** What an output is called in a dotenv report; lists have no place there. */
export function dotenvName({ name, type }: InputField): string | undefined {
  return type === 'array' || type === 'object' ? undefined : variableName(name)
}

/** Reads an input that is given as text: by a variable or an action's `with:`. */
export function readText(field: InputField, text: string, from: string): unknown {
  const bad = (wanted: string) =>
    new StepError('INPUT_INVALID', `${from}: "${text}" is not ${wanted}`)
  if (field.type === 'boolean') {
    // As YAML writes it, and Groovy, Python and people do.
    if (/^(?:true|false)$/i.test(text)) return text.toLowerCase() === 'true'
    throw bad('true or false')
  }
  if (field.type === 'number') {
    if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text)
    throw bad('a number')
  }
  if (field.type !== 'array') return text
  if (!text.trimStart().startsWith('['))
    return text
      .split('\n')
      .map((line) => line.trim())
      .filter(Boolean)
  try {
    const value: unknown = JSON.parse(text)
    if (Array.isArray(value)) return value
  } catch {
    // reported below
  }
  throw bad('a JSON array')
}

/**
 * Reads inputs from one JSON object: `{"env": "test", "force": true}`. Null and an empty text count as
 * not given. All problems are reported at once.
 */
export function readJsonInputs(
  fields: readonly InputField[],
  text: string,
  from: string,
): Record<string, unknown> {
  const given: Record<string, unknown> = {}
  const problems: string[] = []
  for (const [name, value] of Object.entries(parseObject(text, from))) {
    const field = fields.find((known) => known.name === name)
    if (field === undefined) problems.push(`${from}: there is no input ${name}`)
    else if (value !== null && value !== '') {
      try {
        given[name] = readValue(field, value, `${from}, ${name}`)
      } catch (error) {
        problems.push((error as Error).message)
      }
    }
  }
  if (problems.length === 0) return given
  throw new StepError('INPUT_INVALID', problems.join('\n'), {
    hint: `Inputs here: ${fields.map(({ name }) => name).join(', ')}.`,
  })
}

function parseObject(text: string, from: string): object {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch {
    // reported below
  }
  throw new StepError('INPUT_INVALID', `${from} is not a JSON object`, {
    hint: 'Write the inputs by name: {"env": "test"}.',
  })
}

/** A JSON value may have the input's own type, or be a text that a variable could hold. */
function readValue(field: InputField, value: unknown, from: string): unknown {
  if (typeof value === 'string') return readText(field, value, from)
  if (typeof value === field.type) return value
  if (field.type === 'array' && Array.isArray(value) && value.every(isText)) return value
  if (field.type === 'string' && typeof value === 'number') return String(value)
  const wanted = field.type === 'array' ? 'a list of texts' : `a ${field.type}`
  throw new StepError('INPUT_INVALID', `${from}: ${JSON.stringify(value)} is not ${wanted}`)
}

const isText = (value: unknown) => typeof value === 'string'
