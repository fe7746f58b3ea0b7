import { covers } from './compile.ts'
import { appsText, environmentsText, type Place } from './question.ts'
import type { Subject } from './subject.ts'

/** What an API token's own limits refuse. A token without a scope may nothing. */
export function scopeProblem({ kind, scope }: Subject, asked: Place): string | undefined {
  if (scope === undefined) return kind === 'token' ? 'the token has no scope' : undefined
  const [verbs, apps, envs] = [new Set(scope.verbs), new Set(scope.apps), new Set(scope.envs)]
  if (!verbs.has(asked.verb)) return `the token's scope has no ${asked.verb}`
  if (!covers(apps, asked.app)) {
    return `the token's scope is for ${appsText(apps) || 'no application'}`
  }
  if (!covers(envs, asked.environment)) {
    return `the token's scope for ${asked.verb} is on ${environmentsText(envs) || 'no environment'}`
  }
  return undefined
}
