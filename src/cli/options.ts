import { type Command, Option } from 'commander'
import { fieldsOf, type InputField, readJsonInputs, readText } from '../steps/fields.ts'
import { kebab, variableName } from '../steps/inputs.ts'
import type { Step } from '../steps/step.ts'

/** Adds a flag for each input. Defaults are shown, not set: crosscloud.yml comes before them. */
export function addInputOptions(command: Command, step: Step): void {
  const fields = fieldsOf(step.inputs)
  if (fields.some(({ name }) => name === 'release')) {
    command.argument('[release]', 'release, as application@version')
  }
  for (const field of fields) {
    const flag = `--${kebab(field.name)}`
    const byDefault = field.default === undefined ? '' : ` (default: ${shown(field.default)})`
    const description = `${field.description}${byDefault}`
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

/** All inputs of a step in one variable: what a CI system must not expand, split or recode. */
const INPUTS_VARIABLE = 'CROSSCLOUD_INPUTS'

/**
 * Flags first, then CROSSCLOUD_INPUTS, then a variable for each; an empty one counts as not set, as
 * CI systems mean it.
 */
export function gatherInputs(
  step: Step,
  flags: Record<string, unknown>,
  release: string | undefined,
  variables: Readonly<Record<string, string | undefined>>,
): Record<string, unknown> {
  const fields = fieldsOf(step.inputs)
  const given: Record<string, unknown> = {}
  const together = variables[INPUTS_VARIABLE]
  const json = together ? readJsonInputs(fields, together, INPUTS_VARIABLE) : {}
  for (const field of fields) {
    const name = variableName(field.name)
    const text = variables[name]
    if (Object.hasOwn(json, field.name)) given[field.name] = json[field.name]
    else if (text) given[field.name] = readText(field, text, name)
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
