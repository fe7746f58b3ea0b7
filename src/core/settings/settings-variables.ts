import { StepError } from '../errors.ts'
import { passwordIn, type Secrets } from '../secrets.ts'

/** A variable in a settings file, and whether it has a value. */
export interface VariableUse {
  name: string
  /** The path of the setting: `environments`, `test`, `config`. */
  path: readonly string[]
  /** `default`: the text after `:-` is used. */
  state: 'set' | 'default' | 'empty' | 'unset'
}

export interface VariableSource {
  variables: Readonly<Record<string, string | undefined>>
  secrets: Secrets
  /** Whether a setting is public by its nature: there a variable is secret only by its name. */
  isShown?: ((path: readonly string[]) => boolean) | undefined
}

/** As in a shell: `${NAME}`, or `${NAME:-default}`. */
const VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g
const SECRET_NAME = /PASS|SECRET|TOKEN|KEY|CREDENTIAL/i

/** Expands the variables in every text; their values are masked from then on. */
export function putVariables(value: unknown, source: VariableSource) {
  const uses: VariableUse[] = []
  return { values: expand(value, [], source, uses), uses }
}

function expand(
  value: unknown,
  path: readonly string[],
  source: VariableSource,
  uses: VariableUse[],
): unknown {
  if (Array.isArray(value)) {
    return value.map((item, index) => expand(item, [...path, String(index)], source, uses))
  }
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value)
    return Object.fromEntries(
      entries.map(([key, item]) => [key, expand(item, [...path, key], source, uses)]),
    )
  }
  if (typeof value !== 'string') return value
  const { variables, secrets, isShown } = source
  const text = value.replace(VARIABLE, (match, name: string, otherwise?: string) => {
    const found = variables[name]
    uses.push({ name, path, state: stateOf(found, otherwise) })
    if (SECRET_NAME.test(name) || !isShown?.(path)) secrets.add(found)
    return otherwise === undefined ? (found ?? match) : found || otherwise
  })
  secrets.add(passwordIn(text))
  return text
}

/** `otherwise` is what stands in for a variable without a value. */
export function stateOf(found: string | undefined, otherwise?: string): VariableUse['state'] {
  if (found) return 'set'
  if (otherwise !== undefined) return 'default'
  return found === undefined ? 'unset' : 'empty'
}

/** A setting without a value here; `look` throws or reports when the setting is used. */
export interface Gap {
  path: readonly string[]
  look(): void
}

/**
 * The same data with a getter at each gap, or at the value that contains it, which calls `look`: a
 * job needs only the variables of the settings it uses.
 */
export function guardGaps<T>(data: T, gaps: readonly Gap[]): T {
  for (const { path, look } of gaps) {
    let holder: unknown = data
    for (const [depth, key] of path.entries()) {
      // A schema drops invalid values, or leaves the frozen z.NEVER in their place.
      const found = Object.getOwnPropertyDescriptor(holder, key) ?? { enumerable: true }
      const inner: unknown = found.value
      const isLast = depth === path.length - 1 || !Object.isExtensible(inner)
      if (isLast) Object.defineProperty(holder, key, guarded(found, look))
      if (isLast) break
      holder = inner
    }
  }
  return data
}

/** Keeps an earlier guard: a text may lack two variables. */
function guarded(property: PropertyDescriptor, look: () => void): PropertyDescriptor {
  const { get, value, enumerable } = property
  return {
    configurable: true,
    enumerable: enumerable === true,
    get() {
      look()
      return get ? get.call(this) : value
    },
  }
}

export function isPrefix(start: readonly string[], path: readonly string[]): boolean {
  return start.length <= path.length && start.every((part, index) => part === path[index])
}

export const SET_VARIABLES =
  'Set the variable where this runs: in the shell, or in CI as a variable or secret that this job gets.'

export const SET_AND_LIST = `${SET_VARIABLES} \`crosscloud config check\` lists all that are not.`

export function unset(problems: readonly string[]): StepError {
  return new StepError('INPUT_INVALID', problems.join('\n'), { hint: SET_AND_LIST })
}
