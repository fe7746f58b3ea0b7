import { type Grant, holderText, type Policy } from './compile.ts'
import { environmentsOf } from './decide.ts'
import { appsText } from './question.ts'
import type { PolicySettings } from './schema.ts'
import { verbs } from './verbs.ts'

export interface Table {
  headings: string[]
  rows: string[][]
}

/** Verb × role. */
export function roleTable({ roles }: PolicySettings): Table {
  const entries = Object.entries(roles)
  const rows = verbs.map((verb) => [
    verb,
    ...entries.map(([, allowed]) => (allowed.includes(verb) ? 'yes' : '')),
  ])
  return { headings: ['verb', ...entries.map(([name]) => name)], rows }
}

interface Allowed {
  who: string
  rule: string
  role: string
  apps: string[]
}

/** The column of the environments that no grant names: only grants of all are for them. */
const OTHERS = 'any other'

/** Verb × environment, with who may; verbs that nobody may are there, too. */
export function environmentTable(policy: Policy): Table & {
  /** environment → verb → who */
  who: Record<string, Record<string, Allowed[]>>
} {
  const environments = [...environmentsOf(policy), '*']
  const grantsOf = (environment: string) =>
    policy.grants.filter(({ envs }) => envs.has(environment) || envs.has('*'))
  const who = Object.fromEntries(
    environments.map((environment) => [
      environment,
      Object.fromEntries(
        verbs.map((verb) => [
          verb,
          grantsOf(environment)
            .filter((grant) => grant.verbs.has(verb))
            .map(toAllowed),
        ]),
      ),
    ]),
  )
  const rows = verbs.map((verb) => [
    verb,
    ...environments.map((environment) => cell(who[environment]?.[verb] ?? [])),
  ])
  const headings = environments.map((name) => (name === '*' ? OTHERS : name))
  return { headings: ['verb', ...headings], rows, who }
}

function toAllowed({ holder, rule, role, apps }: Grant): Allowed {
  return { who: holderText(holder), rule, role, apps: [...apps] }
}

function cell(allowed: readonly Allowed[]): string {
  const texts = allowed.map(({ who, apps }) =>
    apps.includes('*') ? who : `${who} (${appsText(apps)})`,
  )
  return [...new Set(texts)].join('; ')
}
