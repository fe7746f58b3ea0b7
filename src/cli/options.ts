import { type Command, Option } from 'commander'
import { z } from 'zod'
import { StepError } from '../core/errors.ts'
import { kebab, variableName } from '../steps/inputs.ts'
import type { Step } from '../steps/step.ts'

/** One input of a step as the surfaces see it, read from its JSON schema. */
export interface InputField {
  name: string
  type: 'string' | 'boolean' | 'number' | 'array'
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
  if (type === 'boolean' || type === 'array') return type
  return type === 'number' || type === 'integer' ? 'number' : 'string'
}

/** Adds a flag for each input. Defaults are told, not set: crosscloud.yml comes before them. */
export function addInputOptions(command: Command, step: Step): void {
  const fields = fieldsOf(step.inputs)
  if (fields.some(({ name }) => name === 'release')) {
    command.argument('[release]', 'release, as application@version')
  }
  for (const field of fields) {
    const flag = `--${kebab(field.name)}`
    const told = field.default === undefined ? '' : ` (default: ${shown(field.default)})`
    const description = `${field.description}${told}`
    if (field.type === 'boolean') {
      command.addOption(new Option(flag, description))
      command.addOption(new Option(`--no-${kebab(field.name)}`).hideHelp())
      continue
    }
    const option = new Option(
      `${flag} <${field.type === 'array' ? 'value' : placeholder(field)}>`,
      description,
    )
    if (field.type === 'array') {
      option.argParser((value: string, all: string[] | undefined) => [...(all ?? []), value])
      option.description += '; may be repeated'
    }
    command.addOption(option)
  }
}

function placeholder({ type, choices }: InputField): string {
  return choices ? choices.join('|') : type === 'number' ? 'number' : 'text'
}

function shown(value: unknown): string {
  return Array.isArray(value) ? value.join(' ') || 'none' : value === '' ? 'none' : String(value)
}

/** Reads one input that came as text: from a variable or from an action's `with:`. */
export function readText(field: InputField, text: string, from: string): unknown {
  const bad = (wanted: string) =>
    new StepError('INPUT_INVALID', `${from}: "${text}" is not ${wanted}`)
  if (field.type === 'boolean') {
    if (text === 'true' || text === 'false') return text === 'true'
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

/** Flags first, then variables; an empty variable counts as not set, as CI systems mean it. */
export function gatherInputs(
  step: Step,
  flags: Record<string, unknown>,
  release: string | undefined,
  variables: Readonly<Record<string, string | undefined>>,
): Record<string, unknown> {
  const given: Record<string, unknown> = {}
  for (const field of fieldsOf(step.inputs)) {
    const name = variableName(field.name)
    const text = variables[name]
    if (text) given[field.name] = readText(field, text, name)
    const flag = flags[commanderKey(field.name)]
    if (flag !== undefined) given[field.name] = flag
  }
  if (release !== undefined) given.release = release
  return given
}

/** Commander turns `--war-md5` into `warMd5`; this is the way back from our own names. */
function commanderKey(name: string): string {
  return kebab(name).replace(/-(.)/g, (_match, letter: string) => letter.toUpperCase())
}
