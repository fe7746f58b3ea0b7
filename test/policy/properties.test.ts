import fc from 'fast-check'
import t from 'tap'
import { compilePolicy } from '../../src/policy/compile.ts'
import { decide, type Question, whoMay } from '../../src/policy/decide.ts'
import type { GrantSettings, PolicySettings } from '../../src/policy/schema.ts'
import type { Subject } from '../../src/policy/subject.ts'
import { type Verb, verbs } from '../../src/policy/verbs.ts'
import { ISSUER, job, person, token } from './example.ts'

const apps = ['webapi', 'shop', 'other']
const environments = ['test', 'staging', 'production']
const names = (all: string[]): fc.Arbitrary<string[]> =>
  fc.oneof(
    fc.constant<string[]>(['*']),
    fc.uniqueArray(fc.constantFrom(...all), { minLength: 1, maxLength: 2 }),
  )
const roles: fc.Arbitrary<Record<string, Verb[]>> = fc.record({
  some: fc.subarray([...verbs], { minLength: 1 }),
  promoter: fc.constantFrom<Verb[][]>(['promote'], ['view', 'promote']),
  viewer: fc.constant<Verb[]>(['view']),
})
const holders: fc.Arbitrary<Pick<GrantSettings, 'who' | 'job'>> = fc.oneof(
  fc
    .constantFrom(
      'user:zhang',
      'user:zhang#7',
      'user:li',
      'group:team/qa',
      'group:team/dev',
      'token:jenkins',
    )
    .map((who) => ({ who })),
  fc.constantFrom(
    { job: { 'project-id': 42 } },
    { job: { 'project-id': 42, 'ref-protected': true } },
    { job: { project: 'team/webapi', ref: 'main', issuer: ISSUER } },
  ),
)
const grant: fc.Arbitrary<GrantSettings> = fc
  .tuple(holders, fc.constantFrom('some', 'promoter', 'viewer'), names(apps), names(environments))
  .map(([holder, role, forApps, envs]) => ({ ...holder, role, apps: forApps, envs }))
const policies: fc.Arbitrary<PolicySettings> = fc.record({
  roles,
  grants: fc.array(grant, { maxLength: 6 }),
  tests: fc.constant([]),
})
const subjects: fc.Arbitrary<Subject> = fc.oneof(
  fc
    .subarray(['user:zhang', 'group:team/qa', 'group:team/dev'])
    .map((held) => ({ ...person(...held), byId: '7' })),
  fc
    .constantFrom({}, { 'ref-protected': false }, { ref: 'x' }, { 'project-id': '42' })
    .map((changes) => job(changes)),
  fc
    .record({ verbs: fc.subarray([...verbs]), apps: names(apps), envs: names(environments) })
    .map((scope) => token(scope)),
)
const questions: fc.Arbitrary<Question> = fc.record({
  verb: fc.oneof(fc.constantFrom(...verbs), fc.constant('promote' as const)),
  app: fc.constantFrom(...apps),
  environment: fc.constantFrom(...environments),
  source: fc.constantFrom(undefined, ...environments),
})
/** Few of them are allowed anything: of a hundred there may be none. */
const OFTEN = { numRuns: 1000 }
const decided = (settings: PolicySettings, subject: Subject, question: Question) =>
  decide(compilePolicy(settings), subject, question)

t.test('a grant more takes no right away, and the order of grants means nothing', async (t) => {
  let allowed = 0
  fc.assert(
    fc.property(
      policies,
      grant,
      fc.nat(),
      subjects,
      questions,
      (settings, added, at, subject, question) => {
        const before = decided(settings, subject, question)
        const grants = settings.grants.toSpliced(at % (settings.grants.length + 1), 0, added)
        const after = decided({ ...settings, grants }, subject, question)
        const turned = decided(
          { ...settings, grants: settings.grants.toReversed() },
          subject,
          question,
        )
        if (before.allowed) allowed++
        return (
          (!before.allowed || after.allowed) &&
          (!before.visible || after.visible) &&
          turned.allowed === before.allowed &&
          turned.visible === before.visible
        )
      },
    ),
    OFTEN,
  )
  t.ok(allowed > 0, `${allowed} were allowed`)
})

t.test('a name or claim more takes no right away, and a scope gives none', async (t) => {
  fc.assert(
    fc.property(policies, questions, (settings, question) => {
      const one = decided(settings, person('group:team/qa'), question)
      const both = decided(settings, person('group:team/qa', 'group:team/dev'), question)
      const whole = { verbs, apps: ['*'], envs: ['*'] }
      const wide = decided(settings, token(whole), question)
      const narrow = decided(settings, token({ ...whole, envs: ['test'] }), question)
      const bare = decided(settings, job({ user: undefined, environment: undefined }), question)
      const full = decided(settings, job(), question)
      return (
        (!one.allowed || both.allowed) &&
        (!narrow.allowed || wide.allowed) &&
        (!narrow.allowed || question.environment === 'test') &&
        (!bare.allowed || full.allowed)
      )
    }),
  )
  t.pass()
})

t.test('whoever is allowed is among those who may, and nobody else is needed', async (t) => {
  let found = 0
  fc.assert(
    fc.property(policies, questions, (settings, asked) => {
      const question = { ...asked, source: asked.source ?? 'test' }
      const policy = compilePolicy(settings)
      const listed = whoMay(policy, question)
      for (const who of ['group:team/qa', 'group:team/dev', 'user:li', 'token:jenkins']) {
        const subject = who.startsWith('token:')
          ? token({ verbs, apps: ['*'], envs: ['*'] }, who)
          : person(who)
        const { allowed } = decide(policy, subject, question)
        if (allowed) found++
        if (allowed !== listed.includes(who)) return false
      }
      const two = decide(policy, person('group:team/qa', 'group:team/dev'), question)
      const parts = listed.filter((who) =>
        who.split(' with ').every((part) => ['group:team/qa', 'group:team/dev'].includes(part)),
      )
      return two.allowed === parts.length > 0
    }),
    OFTEN,
  )
  t.ok(found > 0, `${found} were allowed`)
})
