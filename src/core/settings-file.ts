import { readFile } from 'node:fs/promises'
import type { z } from 'zod'
import { errorCodeOf, explain, StepError } from './errors.ts'
import { issueLines } from './schema.ts'
import type { Secrets } from './secrets.ts'

/** A settings file: what stands in it, what it is called, and the page that explains it. */
export interface SettingsText {
  text: string
  name: string
  page: string
  /** Only this part is read: the variables of the others need not be set. */
  only?: string
  /** Told of every variable that is set to nothing, once, and of the settings that it stands in. */
  onEmpty?: (variable: string, settings: readonly string[]) => void
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

/** Reads YAML with variables in it against a schema; INPUT_INVALID names every line that is wrong. */
export async function parseYamlSettings<Schema extends z.ZodType>(
  schema: Schema,
  { text, name, page, only, onEmpty }: SettingsText,
  variables: Readonly<Record<string, string | undefined>>,
  secrets: Secrets,
): Promise<z.output<Schema>> {
  const { isNode, LineCounter, parseDocument } = await import('yaml')
  const lines = new LineCounter()
  const document = parseDocument(text, {
    ...{ lineCounter: lines, prettyErrors: false, logLevel: 'error' },
  })
  const at = (offset: number | undefined) =>
    offset === undefined ? name : `${name}:${lines.linePos(offset).line}`
  const problems = document.errors.map((error) => `${at(error.pos[0])} ${error.message}`)
  if (problems.length > 0) throw invalid(problems, mendLines(page))

  const missing = new Map<string, string[]>()
  const all = document.toJS() ?? {}
  const wanted = only === undefined ? all : { [only]: all[only] }
  const empty = new Map<string, string[]>()
  const values = expand(wanted, [], { variables, secrets, missing, empty })
  for (const [variable, settings] of empty) onEmpty?.(variable, settings)
  for (const variable of missing.keys()) {
    problems.push(`${at(text.indexOf(`\${${variable}}`))} variable ${variable} is not set`)
  }
  const unset = new Set([...missing.values()].flat())
  const result = schema.safeParse(values, { reportInput: true })
  for (const { path, text: what } of issueLines(result.error?.issues ?? [], schema)) {
    // That it is not set was told above.
    if (unset.has(path.join('.'))) continue
    let node: unknown
    for (let depth = path.length; depth > 0 && !isNode(node); depth--) {
      node = document.getIn(path.slice(0, depth).map(indexOrKey), true)
    }
    problems.push(`${at(isNode(node) ? node.range?.[0] : undefined)} ${path.join('.')} ${what}`)
  }
  if (problems.length === 0 && result.success) return result.data
  const advice = [
    ...(missing.size > 0 ? [SET_VARIABLES] : []),
    ...(problems.length > missing.size ? [mendLines(page)] : []),
  ]
  throw invalid(problems, advice.join('\n'))
}

function indexOrKey(part: string): string | number {
  return /^\d+$/.test(part) ? Number(part) : part
}

const SET_VARIABLES =
  'Set the variable where this runs: in the shell, or in CI as a variable or secret that this job gets.'

const mendLines = (page: string) => `Mend these lines. ${page} explains every setting.`

function invalid(problems: string[], hint: string): StepError {
  return new StepError('INPUT_INVALID', problems.join('\n'), { hint })
}

/** As in a shell: `${NAME}`, or `${NAME:-what it is without}`. */
const VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g
const SECRET_NAME = /PASS|SECRET|TOKEN|KEY|CREDENTIAL/i

interface Expansion {
  variables: Readonly<Record<string, string | undefined>>
  secrets: Secrets
  /** Variables that are not set, and where they stand. */
  missing: Map<string, string[]>
  /** Variables that are set to nothing, and where they stand without another text for that. */
  empty: Map<string, string[]>
}

/** Puts variables into every text; what has a secret's name, or is a URL's password, is masked. */
function expand(value: unknown, path: readonly string[], expansion: Expansion): unknown {
  const { variables, secrets, missing, empty } = expansion
  if (Array.isArray(value)) {
    return value.map((one, index) => expand(one, [...path, String(index)], expansion))
  }
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value)
    return Object.fromEntries(
      entries.map(([key, one]) => [key, expand(one, [...path, key], expansion)]),
    )
  }
  if (typeof value !== 'string') return value
  const text = value.replace(VARIABLE, (match, name: string, otherwise?: string) => {
    const found = otherwise === undefined ? variables[name] : variables[name] || otherwise
    const odd = found === undefined ? missing : empty
    if (!found && otherwise === undefined) {
      odd.set(name, [...(odd.get(name) ?? []), path.join('.')])
    }
    if (SECRET_NAME.test(name)) secrets.add(found)
    return found ?? match
  })
  secrets.add(/^[a-z][a-z0-9+.-]*:\/\/[^:@/?#]*:([^@/?#]+)@/i.exec(text)?.[1])
  return text
}
