import t from 'tap'
import { maybeSame, oneOf } from '../../src/gate/people.ts'
import type { GateFacts } from '../../src/gate/rules.ts'
import { evaluate, release, vote } from './facts.ts'

const ops = { approvers: ['ops-li', 'ops-wang'] }
const anyone = 'anybody, but not Zhang Wei <zhang.wei@example.com> or dev-baker'

await t.test('an unsigned identity counts only where that is allowed', async (t) => {
  const approvals = [vote('ops-li', { identity: 'unverified', groups: ['team/ops'] })]
  t.equal(evaluate(ops, { approvals }, false).open, false)
  t.equal(evaluate(ops, { approvals }, true).open, true)
  const { open, problems } = evaluate({ approvers: ['group:team/ops'] }, { approvals }, true)
  t.equal(open, false, 'groups are believed of signed tokens only')
  t.match(problems[1], /only a signed ID token says in which groups ops-li is/)
})

await t.test('the evaluation names who may approve', async (t) => {
  const who = (gate: object, more: Partial<GateFacts> = {}) => evaluate(gate, more).mayApprove
  t.equal(who({}), anyone)
  t.equal(who({ 'four-eyes': false }), 'anybody')
  t.equal(who({}, { release: { ...release, author: 'dev-baker' } }), 'anybody, but not dev-baker')
  t.equal(who({ approvers: ['ops-li', 'dev-baker'] }, { approvals: [vote('ops-li')] }), 'ops-li')
  t.equal(
    who({ approvers: ['ops-li', 'group:team/ops'] }),
    'ops-li or a member of team/ops, but not Zhang Wei <zhang.wei@example.com> or dev-baker',
  )
  t.equal(who({ approvers: ['dev-baker'] }), 'nobody on the list')
  t.equal(oneOf(['a', 'b', 'c']), 'a, b or c')
})

await t.test('all problems are reported at once', async (t) => {
  const freeze = [{ days: ['mon'], reason: 'month-end\nclosing', zone: 'Europe/Berlin' }]
  const { open, problems } = evaluate(
    { ...ops, soak: '24h', freeze },
    {
      before: { environment: 'staging' },
    },
  )
  t.equal(open, false)
  t.equal(problems.length, 3)
  t.equal(
    problems[0],
    'production is frozen until Tue 2026-11-24 00:00 Europe/Berlin (month-end closing): deploy after that.',
  )
  const always = [{ days: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'], reason: 'closed' }]
  t.strictSame(evaluate({ approvals: 0, freeze: always }).problems, [
    'production is frozen without an end (closed): change freeze in its gate.',
  ])
})

await t.test('two names are of one person when any of their forms are equal', async (t) => {
  const same: [string, string][] = [
    ['li', 'LI'],
    ['li.wei', 'li.wei@example.com'],
    ['li-wei', 'Li Wei <li.wei@example.com>'],
    ['liwei', 'Somebody <Li_Wei+git@example.com>'],
    ['li.wei@example.com', 'Li <LI.WEI@example.com>'],
    ['octocat', '583231+octocat@users.noreply.github.com'],
    ['ops-li', 'Li Wei <42-ops-li@users.noreply.gitlab.example.com>'],
    ['ops-li', 'ops-li <root@localhost>'],
    ['li wei', 'Li Wei <x@y>'],
  ]
  const other: [string, string][] = [
    ['li', 'liu@example.com'],
    ['li', 'Li Wei <zhang@li.example.com>'],
    ['example', 'li@example.com'],
    ['', ''],
    ['-', 'li@example.com'],
    ['li', '<>'],
    ['octocat', '583231+octodog@users.noreply.github.com'],
  ]
  for (const [login, author] of same) t.ok(maybeSame(login, author), `${login} is ${author}`)
  for (const [login, author] of other) t.notOk(maybeSame(login, author), `${login}, ${author}`)
})
