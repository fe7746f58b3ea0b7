import { compareBytes } from '../store/keys.ts'
import type { ConfigSnapshot } from '../store/store.ts'

export interface Finding {
  level: 'error' | 'warning'
  environment: string
  key: string | undefined
  /** The rule's name in docs/config.md: `outer-space`. */
  rule: string
  /** Never contains a value. */
  text: string
}

/** The facts about an environment that lint checks. */
export interface LintedEnvironment {
  name: string
  /** In clear; values that cannot be decrypted are left out. */
  values: ConfigSnapshot
  sealed: ReadonlySet<string>
  locked: ReadonlyMap<string, string>
  isSecret(key: string): boolean
  /** Whether there is a key ring to encrypt with. */
  canSeal: boolean
  /** Keys that its templates use; undefined when rendering failed. */
  used: ReadonlySet<string> | undefined
  /** Problems found by rendering and by the schema. */
  problems: readonly string[]
}

interface Rule {
  name: string
  level: Finding['level']
  pattern: RegExp
  text: string
}

const INVISIBLE = /[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad\u180e]/u

/** Characters that are invisible in an editor, or easily mistaken. */
const rules: readonly Rule[] = [
  {
    name: 'outer-space',
    level: 'error',
    pattern: /^\s|\s$/u,
    text: 'begins or ends with white space',
  },
  { name: 'carriage-return', level: 'error', pattern: /\r/, text: 'has a carriage return (CR)' },
  { name: 'invisible', level: 'error', pattern: INVISIBLE, text: 'has an invisible character' },
  {
    name: 'odd-space',
    level: 'error',
    pattern: /[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/u,
    text: 'has a space that is not the ordinary one',
  },
  {
    name: 'full-width',
    level: 'warning',
    pattern: /[\uff01-\uff5e]/u,
    text: 'has a full-width character',
  },
  { name: 'tab', level: 'warning', pattern: /\t/, text: 'has a tab' },
  {
    name: 'control',
    level: 'error',
    pattern: /(?![\t\r\n])\p{Cc}/u,
    text: 'has a control character',
  },
  { name: 'empty', level: 'warning', pattern: /^$/, text: 'is empty' },
]

/** All findings within each environment and between environments. */
export function lint(environments: readonly LintedEnvironment[]): Finding[] {
  const findings = environments.flatMap((environment) => [
    ...inValues(environment),
    ...inUse(environment),
    ...namesOfOthers(environment, environments),
  ])
  return [...findings, ...equalValues(environments)].sort(
    (a, b) =>
      environments.findIndex(({ name }) => name === a.environment) -
        environments.findIndex(({ name }) => name === b.environment) ||
      compareBytes(a.key ?? '', b.key ?? '') ||
      compareBytes(a.rule, b.rule),
  )
}

/** The findings for a value, with the position of the character. */
export function lintValue(value: string): Pick<Finding, 'level' | 'rule' | 'text'>[] {
  return rules.flatMap(({ name, level, pattern, text }) => {
    const at = value.search(pattern)
    if (at < 0) return []
    const point = value.codePointAt(at)
    const code = point === undefined ? '' : `U+${point.toString(16).toUpperCase().padStart(4, '0')}`
    const where =
      name === 'empty' ? '' : ` (${code} at character ${[...value.slice(0, at)].length + 1})`
    return [{ level, rule: name, text: `${text}${where}` }]
  })
}

function inValues({ name: environment, values }: LintedEnvironment): Finding[] {
  return [...values].flatMap(([key, value]) =>
    lintValue(value).map((finding) => ({ ...finding, environment, key })),
  )
}

function inUse(of: LintedEnvironment): Finding[] {
  const { name: environment, values, sealed, locked, used, problems, canSeal } = of
  const found: Finding[] = problems.map((text) => ({
    level: 'error',
    environment,
    key: undefined,
    rule: 'incomplete',
    text,
  }))
  for (const [key, why] of locked) {
    found.push({
      level: 'error',
      environment,
      key,
      rule: 'locked',
      text: `cannot be decrypted: ${why}`,
    })
  }
  for (const key of values.keys()) {
    if (used && !used.has(key)) {
      found.push({
        level: 'warning',
        environment,
        key,
        rule: 'unused',
        text: 'is used by no template',
      })
    }
    if (canSeal && of.isSecret(key) && !sealed.has(key)) {
      const text = 'is a secret in clear; `crosscloud config seal` encrypts it'
      found.push({ level: 'error', environment, key, rule: 'plain-secret', text })
    }
  }
  return found
}

/** `db.staging.example.com` in production. */
function namesOfOthers(
  { name: environment, values }: LintedEnvironment,
  all: readonly LintedEnvironment[],
): Finding[] {
  const others = all.map(({ name }) => name).filter((name) => name !== environment)
  return [...values].flatMap(([key, value]) =>
    others
      .filter((other) => !environment.includes(other) && asWord(other).test(value))
      .map((other) => ({
        level: 'error' as const,
        environment,
        key,
        rule: 'other-environment',
        text: `names the environment ${other}`,
      })),
  )
}

function asWord(name: string): RegExp {
  const escaped = name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
  return new RegExp(`(?<![\\p{L}\\p{N}])${escaped}(?![\\p{L}\\p{N}])`, 'iu')
}

const PLACE =
  /^[a-z][a-z0-9+.:-]*:\/\/|^jdbc:|\b\d{1,3}(?:\.\d{1,3}){3}\b|^[\w.-]+\.[a-z]{2,}(?::\d+)?$|^[\w.-]+:\d{2,5}$/i

/** Secrets and addresses that are the same in two environments. */
function equalValues(environments: readonly LintedEnvironment[]): Finding[] {
  const found: Finding[] = []
  for (const [index, later] of environments.entries()) {
    for (const [key, value] of later.values) {
      if (value === '' || !(later.isSecret(key) || PLACE.test(value))) continue
      const same = environments
        .slice(0, index)
        .filter(({ values }) => values.get(key) === value)
        .map(({ name }) => name)
      if (same.length === 0) continue
      found.push({
        level: 'warning',
        environment: later.name,
        key,
        rule: 'equal',
        text: `has the same value as in ${same.join(' and ')}`,
      })
    }
  }
  return found
}
