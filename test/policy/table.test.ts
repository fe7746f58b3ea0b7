import t from 'tap'
import { decide } from '../../src/policy/decide.ts'
import type { Subject } from '../../src/policy/subject.ts'
import { verbs } from '../../src/policy/verbs.ts'
import { example, job, person, policy, token } from './example.ts'

const environments = ['test', 'staging', 'production']
const sourceOf: Record<string, string> = { test: 'staging', staging: 'test', production: 'staging' }

const tester = 'view logs verify promote config-read'
const developer = 'view logs build deploy config-read config-write'
const operator =
  'view logs verify deploy promote approve rollback cancel lock mark operate events config-read config-write secret-write'
const everywhere = (may: string) => ({ test: may, staging: may, production: may })

/** All that is allowed, written out: who, of which application, and per environment the verbs. */
const expected: [Subject, string, Record<string, string>][] = [
  [person('user:zhang', 'group:team/qa'), 'webapi', { test: tester, staging: tester }],
  [person('user:zhang', 'group:team/qa'), 'shop', {}],
  [person('user:chen', 'group:team/dev'), 'webapi', { test: developer }],
  [person('user:chen', 'group:team/dev'), 'shop', { test: developer }],
  [person('user:wang', 'group:team/ops'), 'webapi', everywhere(operator)],
  [person('user:wang', 'group:team/ops'), 'anything', everywhere(operator)],
  [person('user:sun'), 'webapi', everywhere('view audit-read')],
  [person('user:night'), 'webapi', { staging: 'deploy' }],
  [{ ...person('user:li'), byId: '7' }, 'webapi', { production: 'build force tokens agent admin' }],
  [{ ...person('user:li'), byId: '8' }, 'webapi', {}],
  [person('user:nobody'), 'webapi', {}],
  [person(), 'webapi', {}],
  [
    person('user:both', 'group:team/qa', 'group:team/dev'),
    'webapi',
    { test: `${tester} build deploy config-write`, staging: tester },
  ],
  [job(), 'webapi', { test: 'view', staging: 'view deploy promote verify' }],
  [job(), 'shop', {}],
  [job({ ref: 'feature' }), 'webapi', { test: 'view' }],
  [job({ 'project-id': 43 }), 'webapi', {}],
  [
    job({ 'project-id': 7, project: 'team/shop', 'environment-protected': true }),
    'shop',
    { production: 'view deploy verify' },
  ],
  [
    token(),
    'webapi',
    { test: 'view deploy promote verify', staging: 'view deploy promote verify' },
  ],
  [token({ verbs: ['view', 'deploy'], envs: ['test'] }), 'webapi', { test: 'view deploy' }],
]

t.test(
  'every verb in every environment is allowed to whom the table says, and to nobody else',
  async (t) => {
    let asked = 0
    for (const [subject, app, may] of expected) {
      for (const environment of environments) {
        const allowed = verbs.filter((verb) => {
          const source = verb === 'promote' ? sourceOf[environment] : undefined
          asked++
          const decision = decide(policy, subject, { verb, app, environment, source })
          const { reasons, rule } = decision
          t.equal(decision.allowed, rule !== undefined, `${verb}: a grant decides`)
          t.equal(decision.allowed, reasons.length === 0, `${verb}: a refusal has a reason`)
          return decision.allowed
        })
        const wanted = (may[environment] ?? '').split(' ').filter(Boolean)
        t.strictSame(
          [...allowed].sort(),
          wanted.sort(),
          `${subject.name}: ${app} in ${environment}`,
        )
      }
    }
    t.equal(asked, expected.length * environments.length * verbs.length)
  },
)

t.test(
  'the table has every role of the policy, and every verb is allowed to somebody',
  async (t) => {
    const used = new Set(example.grants.map(({ role }) => role))
    t.strictSame([...used].sort(), Object.keys(example.roles).sort())
    const allowed = new Set(
      expected.flatMap(([, , may]) => Object.values(may).join(' ').split(' ')),
    )
    t.strictSame(
      [...verbs].filter((verb) => !allowed.has(verb)),
      [],
    )
  },
)

t.test('each role alone allows its verbs where its grant is, and nothing else', async (t) => {
  for (const grant of policy.grants) {
    const { holder, apps, envs } = grant
    if (holder.kind === 'job' || holder.name.startsWith('token:')) continue
    const subject = { ...person(holder.name), byId: holder.id }
    for (const verb of verbs) {
      for (const app of ['webapi', 'shop']) {
        for (const environment of environments) {
          const source = verb === 'promote' ? sourceOf[environment] : undefined
          const { allowed } = decide({ grants: [grant] }, subject, {
            verb,
            app,
            environment,
            source,
          })
          const has = (names: ReadonlySet<string>, name: string) =>
            names.has(name) || names.has('*')
          const sees = source === undefined || (grant.verbs.has('view') && has(envs, source))
          const wanted = grant.verbs.has(verb) && has(apps, app) && has(envs, environment) && sees
          t.equal(allowed, wanted, `${grant.role} ${verb} ${app} ${environment}`)
        }
      }
    }
  }
})
