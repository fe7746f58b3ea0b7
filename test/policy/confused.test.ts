import t from 'tap'
import { onOneLine } from '../../src/core/plain-text.ts'
import { decide } from '../../src/policy/decide.ts'
import type { Subject } from '../../src/policy/subject.ts'
import { confusedJobs } from './confused-jobs.ts'
import { confusedPeople } from './confused-people.ts'
import { confusedTokens } from './confused-tokens.ts'
import { job, ops, person, policy, qa, question, shop, token } from './example.ts'

t.test('what the confused ones ask is allowed to whom it is meant for', async (t) => {
  const allowed: [Subject, string][] = [
    [qa, 'promote webapi staging test'],
    [ops, 'deploy webapi production'],
    [job(), 'deploy webapi staging'],
    [job(), 'promote webapi staging test'],
    [shop(), 'deploy shop production'],
    [token(), 'deploy webapi test'],
    [person('user:sun'), 'audit-read * *'],
  ]
  for (const [subject, line] of allowed) {
    t.match(decide(policy, subject, question(line)), { allowed: true, reasons: [] }, line)
  }
})

/** A name that is not that of a grant, however near. */
const nearNames = [
  'group:Team/qa',
  'group:team/QA',
  'group:team',
  'group:team/q',
  'group:team/qa2',
  'group:team/qa/lead',
  'group:/team/qa',
  'group:team/qa/',
  'group:team//qa',
  'group:team/*',
  'group:*',
  '*',
  'team/qa',
  'user:team/qa',
  'token:team/qa',
  'Group:team/qa',
  'group: team/qa',
  ' group:team/qa',
  'group:team/qa ',
  'group:team/qa\n',
  'group:team/qa\u0000',
  'group:team/qa\u200b',
  'group:te\u0430m/qa',
  'group:team\u2215qa',
  'group:team/\uff51\uff41',
  'group:team%2Fqa',
  'group:team/../team/qa',
  'group:__proto__',
  '__proto__',
  'constructor',
  '',
  'user:Sun',
  'user:sun#1',
]

t.test('a name that is nearly that of a grant is another name', async (t) => {
  for (const name of nearNames) {
    const { allowed, visible, reasons, help } = decide(
      policy,
      person(name),
      question('promote webapi staging test'),
    )
    const known = /^(?:user|group):/.test(name)
    const reason = onOneLine(
      known ? `no grant names ${name}` : `no grant can name ${person(name).name}`,
    )
    t.strictSame(
      { allowed, visible, reasons, help },
      { allowed: false, visible: false, reasons: [reason], help: [] },
    )
  }
})

const cases = [...confusedPeople, ...confusedJobs, ...confusedTokens]

t.test(
  'confused, forged and mis-scoped questions are each refused with a reason of their own',
  async (t) => {
    t.ok(cases.length + nearNames.length >= 80, `${cases.length} and ${nearNames.length}`)
    for (const [what, subject, line, reason] of cases) {
      const { allowed, rule, reasons } = decide(policy, subject, question(line))
      t.strictSame({ allowed, rule }, { allowed: false, rule: undefined }, what)
      t.equal(reasons[0], reason, `${what}: ${line}`)
    }
  },
)

t.test(
  'a refusal names no grant of anybody else, and none at all where nothing is seen',
  async (t) => {
    for (const [what, subject, line] of cases) {
      const { reasons, help, visible } = decide(policy, subject, question(line))
      const named = [...reasons.join('\n').matchAll(/grants\[(\d+)\]/g)].map(([, index]) =>
        Number(index),
      )
      for (const index of named) {
        const { holder } = policy.grants[index] ?? {}
        const own =
          holder?.kind === 'who'
            ? subject.names.includes(holder.name)
            : [42, 7].includes(Number(subject.claims?.['project-id']))
        t.ok(own, `${what}: grants[${index}]`)
      }
      if (!visible) t.strictSame(help, [], what)
      t.notMatch(help.join(), /token|job|project/, what)
    }
  },
)
