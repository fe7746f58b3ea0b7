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
  required: boolean
}

interface Property {
  type?: string
  description?: string
  default?: unknown
  enum?: string[]
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

/** Reads one input that came as text: from a variable or from an action's `with:`. */
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
    // said below
  }
  throw bad('a JSON array')
}
