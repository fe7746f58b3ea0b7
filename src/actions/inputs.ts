import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { StepError } from '../core/errors.ts'
import { fieldsOf, readText } from '../steps/fields.ts'
import { kebab, variableName } from '../steps/inputs.ts'
import type { Step } from '../steps/step.ts'

export type Variables = Readonly<Record<string, string | undefined>>

/** Inputs that every action has beside those of its step. */
export const placeInputs = {
  'working-directory': 'Folder to run in, from the workspace (default: the workspace itself)',
  settings: 'crosscloud.yml to use, from the folder it runs in (default: crosscloud.yml)',
  server:
    'Address of the server that runs deploy, promote, rollback and verify-md5, https://…; or none (default: server in crosscloud.yml, else the job)',
} as const

/** A runner passes `with: war-layout` as INPUT_WAR-LAYOUT: upper-case, hyphens stay; empty is not given. */
function inputOf(name: string, variables: Variables): string | undefined {
  return variables[`INPUT_${name.toUpperCase()}`]?.trim() || undefined
}

/** What `with:` gives, else what `env:` gives as CROSSCLOUD_…. */
export function readInputs(step: Step, variables: Variables): Record<string, unknown> {
  const given: Record<string, unknown> = {}
  for (const field of fieldsOf(step.inputs)) {
    const [name, variable] = [kebab(field.name), variableName(field.name)]
    const text = inputOf(name, variables)
    const otherwise = variables[variable]
    if (text !== undefined) given[field.name] = readText(field, text, name)
    else if (otherwise) given[field.name] = readText(field, otherwise, variable)
  }
  return given
}

/** Where a step runs, and with which settings. */
export interface Place {
  cwd: string
  settingsFile: string | undefined
  /** With the server that `with:` names. */
  variables: Variables
}

export async function readPlace(variables: Variables, otherwise: string): Promise<Place> {
  const workspace = variables.GITHUB_WORKSPACE || otherwise
  const folder = inputOf('working-directory', variables)
  const cwd = resolve(workspace, folder ?? '.')
  const found = await stat(cwd).catch(() => undefined)
  if (!found?.isDirectory()) {
    throw new StepError('INPUT_INVALID', `working-directory: there is no folder ${cwd}`, {
      hint: 'It starts from the workspace, which actions/checkout fills.',
    })
  }
  const server = inputOf('server', variables)
  return {
    cwd,
    variables: server === undefined ? variables : { ...variables, CROSSCLOUD_SERVER: server },
    settingsFile: inputOf('settings', variables) ?? (variables.CROSSCLOUD_SETTINGS || undefined),
  }
}
