import { basename } from 'node:path'
import { StepError } from '../../core/errors.ts'
import { SET_VARIABLES, type VariableUse } from '../../core/settings/settings-variables.ts'
import { table } from '../output.ts'
import { addCommand, type ConfigGroup } from './group.ts'

/** A variable of crosscloud.yml, and all settings that it stands in. */
interface Needed {
  name: string
  state: VariableUse['state']
  settings: string[]
  line: number
}

/** `config check`: what crosscloud.yml needs of the place where it is used, all at once. */
export function addCheckCommand(group: ConfigGroup): void {
  const check = addCommand(
    group,
    'check',
    'Read crosscloud.yml, and list the variables that it needs and that are not set here.',
    'config check',
  )
  check.action(async () => {
    await group.perform(check, async (context) => {
      const { file, variables } = await context.settings()
      const needed = collect(variables)
      const lacking = needed.filter(({ state }) => state === 'unset' || state === 'empty')
      const result = { json: { file, variables: needed }, text: describe(needed) }
      return lacking.length === 0 ? result : { ...result, failure: failureOf(lacking, file) }
    })
  })
}

/** One line a variable; where one place has another text for it and one has not, it is needed. */
function collect(uses: readonly (VariableUse & { line: number })[]): Needed[] {
  return [...new Set(uses.map(({ name }) => name))].map((name) => {
    const all = uses.filter((use) => use.name === name)
    const needy = all.filter(({ state }) => state !== 'default')
    const [{ state, line } = { state: 'default' as const, line: 1 }] = needy.concat(all)
    const settings = [...new Set(all.map(({ path }) => path.join('.')))]
    return { name, state, settings, line }
  })
}

const states: Record<VariableUse['state'], string> = {
  set: 'is set',
  default: 'has a default',
  empty: 'is empty',
  unset: 'is not set',
}

function describe(needed: readonly Needed[]): string {
  if (needed.length === 0) return 'crosscloud.yml can be read; it needs no variables.'
  const rows = needed.map(({ name, state, settings }) => [name, states[state], settings.join(', ')])
  return `crosscloud.yml can be read.\n${table(['variable', 'here', 'settings'], rows)}`
}

function failureOf(lacking: readonly Needed[], file: string): StepError {
  const lines = lacking.map(
    ({ name, state, settings, line }) =>
      `${basename(file)}:${line} variable ${name} ${states[state]}: ${settings.join(', ')}`,
  )
  return new StepError('INPUT_INVALID', lines.join('\n'), {
    hint: `${SET_VARIABLES} A command needs only those of the settings that it uses.`,
  })
}
