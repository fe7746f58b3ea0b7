import { StepError } from '../errors.ts'
import { passwordIn, type Secrets } from '../secrets.ts'

/** A variable in a text of a settings file, and what came of it. */
export interface VariableUse {
  name: string
  /** Where the text stands: `environments`, `test`, `config`. */
  path: readonly string[]
  /** `default`: the text after `:-` stands for it. */
  state: 'set' | 'default' | 'empty' | 'unset'
}

export interface Surroundings {
  variables: Readonly<Record<string, string | undefined>>
  secrets: Secrets
  /** Whether a setting is shown by its nature; there only what is called like a secret is one. */
  isShown?: ((path: readonly string[]) => boolean) | undefined
}

/** As in a shell: `${NAME}`, or `${NAME:-what it is without}`. */
const VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g
const SECRET_NAME = /PASS|SECRET|TOKEN|KEY|CREDENTIAL/i

/** Puts variables into every text; what comes from one is masked from then on, whatever its name. */
export function putVariables(value: unknown, surroundings: Surroundings) {
  const uses: VariableUse[] = []
  return { values: expand(value, [], surroundings, uses), uses }
}

function expand(
  value: unknown,
  path: readonly string[],
  surroundings: Surroundings,
  uses: VariableUse[],
): unknown {
  if (Array.isArray(value)) {
    return value.map((one, index) => expand(one, [...path, String(index)], surroundings, uses))
  }
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value)
    return Object.fromEntries(
      entries.map(([key, one]) => [key, expand(one, [...path, key], surroundings, uses)]),
    )
  }
  if (typeof value !== 'string') return value
  const { variables, secrets, isShown } = surroundings
  const text = value.replace(VARIABLE, (match, name: string, otherwise?: string) => {
    const found = variables[name]
    uses.push({ name, path, state: stateOf(found, otherwise) })
    if (SECRET_NAME.test(name) || !isShown?.(path)) secrets.add(found)
    return otherwise === undefined ? (found ?? match) : found || otherwise
  })
  secrets.add(passwordIn(text))
  return text
}

function stateOf(found: string | undefined, otherwise: string | undefined): VariableUse['state'] {
  if (found) return 'set'
  if (otherwise !== undefined) return 'default'
  return found === undefined ? 'unset' : 'empty'
}

/** What is said of a place that has no value here, when somebody asks for it. */
export interface Gap {
  path: readonly string[]
  look(): void
}

/**
 * The same data, where asking for one of the gaps, or for what one is a part of, looks first: a job
 * needs only the variables of what it uses.
 */
export function guardGaps<T>(data: T, gaps: readonly Gap[]): T {
  for (const { path, look } of gaps) {
    let holder: unknown = data
    for (const [depth, key] of path.entries()) {
      // Of what was wrong a schema keeps nothing.
      const found = Object.getOwnPropertyDescriptor(holder, key) ?? { enumerable: true }
      const inner: unknown = found.value
      const isLast = depth === path.length - 1 || typeof inner !== 'object' || inner === null
      if (isLast) Object.defineProperty(holder, key, guarded(found, look))
      if (isLast) break
      holder = inner
    }
  }
  return data
}

/** Looks once more at what was guarded before: a text may lack two variables. */
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

export function unset(problems: readonly string[]): StepError {
  return new StepError('INPUT_INVALID', problems.join('\n'), {
    hint: `${SET_VARIABLES} \`crosscloud config check\` lists all that are not.`,
  })
}
