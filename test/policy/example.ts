import { parse } from 'yaml'
import { compilePolicy } from '../../src/policy/compile.ts'
import type { Question } from '../../src/policy/decide.ts'
import { type PolicySettings, policySettings } from '../../src/policy/settings.ts'
import type { Subject } from '../../src/policy/subject.ts'
import type { Verb } from '../../src/policy/verbs.ts'

export const ISSUER = 'https://gitlab.example.com'

export const text = `
roles:
  tester:    [view, logs, verify, promote, config-read]
  developer: [view, logs, build, deploy, config-read, config-write]
  operator:  [view, logs, verify, promote, deploy, approve, rollback, cancel, lock,
              mark, operate, events, config-read, config-write, secret-write]
  auditor:   [view, audit-read]
  pipeline:  [view, deploy, promote, verify]
  viewer:    [view]
  blind:     [deploy, promote]
  platform:  [build, force, tokens, agent, admin]
grants:
  - { who: 'group:team/qa', role: tester, apps: [webapi], envs: [test, staging] }
  - { who: 'group:team/dev', role: developer, apps: ['*'], envs: [test] }
  - { who: 'group:team/ops', role: operator, apps: ['*'], envs: ['*'] }
  - { who: 'user:sun', role: auditor, apps: ['*'], envs: ['*'] }
  - { job: { project-id: 42, ref: main, ref-protected: true, environment: staging },
      role: pipeline, apps: [webapi], envs: [staging] }
  - { job: { project-id: 42 }, role: viewer, apps: [webapi], envs: [test] }
  - { who: 'token:jenkins', role: pipeline, apps: [webapi], envs: [test, staging] }
  - { who: 'user:night', role: blind, apps: [webapi], envs: [staging] }
  - { who: 'user:li#7', role: platform, apps: [webapi, shop], envs: [production] }
  - { job: { issuer: '${ISSUER}', project: team/shop, environment-protected: true },
      role: pipeline, apps: [shop], envs: [production] }
`

export const readPolicy = (yaml: string): PolicySettings => policySettings.parse(parse(yaml))
export const example = readPolicy(text)
export const policy = compilePolicy(example)

export const person = (...names: string[]): Subject => ({
  kind: 'person',
  name: names[0]?.replace(/^\w+:/, '') ?? 'nobody',
  by: names[0] ?? '',
  identity: ISSUER,
  names,
})

/** The job that may deploy to staging; changes take claims away (undefined) or replace them. */
export function job(changes: Record<string, unknown> = {}, identity = ISSUER): Subject {
  const claims: Record<string, unknown> = {
    'project-id': 42,
    project: 'team/webapi',
    ref: 'main',
    'ref-protected': true,
    environment: 'staging',
    'pipeline-source': 'push',
    user: 'zhang',
    ...changes,
  }
  for (const [name, value] of Object.entries(claims)) if (value === undefined) delete claims[name]
  const known = claims as Subject['claims']
  return { kind: 'job', name: 'job 4711', by: 'zhang', identity, names: [], claims: known }
}

export const qa = person('user:zhang', 'group:team/qa')
export const ops = person('user:wang', 'group:team/ops')
export const shop = (changes: Record<string, unknown> = {}, identity = ISSUER) =>
  job(
    { 'project-id': 7, project: 'team/shop', 'environment-protected': true, ...changes },
    identity,
  )

/** A question that is refused, and the first reason. */
export type Case = [what: string, subject: Subject, question: string, reason: string]

const WHOLE = ['view', 'deploy', 'promote', 'verify', 'rollback'] as const

export function token(scope: Partial<Subject['scope']> = {}, ...names: string[]): Subject {
  const by = 'token:jenkins'
  return {
    kind: 'token',
    name: 'token jenkins',
    by,
    identity: 'token',
    names: names.length > 0 ? names : [by],
    scope: { verbs: WHOLE, apps: ['*'], envs: ['*'], ...scope },
  }
}

/** `promote webapi staging test`; a word that is no verb stays what it is. */
export function question(line: string): Question {
  const [verb = '', app = '', environment = '', source] = line.split(' ')
  return { verb: verb as Verb, app, environment, source }
}
