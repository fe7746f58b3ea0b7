import { NAME } from '../core/settings/schema.ts'
import { quoted } from './claims.ts'
import { covers, type Grant } from './compile.ts'
import { isVerb, isWide, type Verb } from './verbs.ts'

export interface Question {
  verb: Verb
  /** `*`: all of them at once, for the verbs that may be asked so. */
  app: string
  environment: string
  /** Of a promotion: where the release comes from. */
  source?: string | undefined
}

export type Place = Pick<Question, 'verb' | 'app' | 'environment'>

export function allows(grant: Grant, { verb, app, environment }: Place): boolean {
  return grant.verbs.has(verb) && covers(grant.apps, app) && covers(grant.envs, environment)
}

/** A question about nothing that can exist is refused, whatever the grants say. */
export function questionProblem(
  { verb, app, environment }: Question,
  sources: readonly string[],
): string | undefined {
  if (!isVerb(verb)) return `${quoted(verb)} is not a verb`
  const names = [
    ['application', app],
    ['environment', environment],
    ...sources.map((source) => ['environment', source] as const),
  ] as const
  for (const [what, name] of names) {
    if (name === '*' && isWide(verb)) continue
    if (!NAME.test(name)) return `${quoted(name)} is not the name of an ${what}`
  }
  return verb === 'promote' && sources.length === 0
    ? 'promote takes the environment that the release comes from'
    : undefined
}

/** `all applications`, `webapi, shop` */
export const appsText = (names: Iterable<string>) => namesText(names, 'all applications')
export const environmentsText = (names: Iterable<string>) => namesText(names, 'all environments')

function namesText(names: Iterable<string>, all: string): string {
  const list = [...names]
  return list.includes('*') ? all : list.join(', ')
}

/** `promote webapi to production`, `view webapi on test`, `audit-read all applications …` */
export function questionText({ verb, app, environment }: Question): string {
  const preposition = verb === 'deploy' || verb === 'promote' ? 'to' : 'on'
  return `${verb} ${appsText([app])} ${preposition} ${environmentsText([environment])}`
}
