import t from 'tap'
import { SCAN, SCANNER } from '../../src/core/scanner.ts'
import { signOffProblem } from '../../src/gate/break-glass.ts'
import { ANY_CONFIG } from '../../src/gate/facts.ts'
import { gateSettings } from '../../src/gate/settings.ts'
import { evaluate, release, vote } from './facts.ts'

const LATER = '2026-11-23T08:30:00.000Z'

t.test('a person who is renamed has one vote still', async (t) => {
  const before = vote('ops-li', { byId: '42' })
  const after = vote('ops-lee', { byId: '42', at: LATER })
  const twice = evaluate({ approvals: 2 }, { approvals: [before, after] })
  t.equal(twice.open, false)
  t.strictSame(twice.counted, [after], 'the newest word')
  const old = evaluate({ approvals: 2 }, { approvals: [vote('ops-li'), { ...before, at: LATER }] })
  t.equal(old.counted.length, 1, 'a word from before ids were kept is of whoever had that name')
  const rejected = vote('ops-lee', { byId: '42', at: LATER, decision: 'rejected' })
  t.equal(evaluate({}, { approvals: [before, rejected] }).open, false, 'and may take it back')
  const two = [before, vote('ops-wang', { byId: '43' })]
  t.equal(evaluate({ approvals: 2 }, { approvals: two }).open, true, 'two people have two')
})

t.test('an approver who is pinned to an id is that account, by whatever name', async (t) => {
  const gate = { approvers: ['ops-li#42'] }
  t.equal(evaluate(gate, { approvals: [vote('ops-lee', { byId: '42' })] }).open, true)
  for (const other of [vote('ops-li', { byId: '7' }), vote('ops-li')]) {
    const { open, problems } = evaluate(gate, { approvals: [other] })
    t.equal(open, false, 'somebody took the name that was given up')
    t.match(problems.join('\n'), 'ops-li is not among the approvers: ask ops-li#42')
  }
  const rejected = vote('ops-li', { byId: '7', decision: 'rejected' })
  const mine = vote('ops-lee', { byId: '42' })
  t.equal(evaluate(gate, { approvals: [mine, rejected] }).open, true, 'nor keeps it out')
  for (const wrong of ['#42', 'ops-li#', 'ops-li#x', 'ops-li#4#2', 'group:team/ops#42']) {
    t.notOk(gateSettings.safeParse({ approvers: [wrong] }).success, wrong)
  }
})

t.test('four eyes know the account that baked, by whatever name', async (t) => {
  const baked = { ...release, bakedById: '42', bakedByMail: 'li@example.com' }
  const renamed = evaluate({}, { release: baked, approvals: [vote('ops-lee', { byId: '42' })] })
  t.match(renamed.problems.join('\n'), 'ops-lee baked it')
  const other = vote('dev-baker', { byId: '43' })
  t.equal(
    evaluate({}, { release: baked, approvals: [other] }).open,
    true,
    'another took its old name',
  )
  const byMail = vote('ops-lee', { byMail: 'LI@example.com' })
  t.equal(evaluate({}, { release: baked, approvals: [byMail] }).open, false)
})

t.test('the mail of a token is held against the author of the commit', async (t) => {
  const author = vote('zw-4711', { byMail: 'zhang.wei@example.com', byId: '9' })
  const { open, problems } = evaluate({}, { approvals: [author] })
  t.equal(open, false)
  t.match(problems.join('\n'), 'zw-4711 wrote it')
})

t.test('without a signed token of whoever baked it, four eyes stay closed', async (t) => {
  const approvals = [vote('ops-li')]
  for (const bakedIdentity of [undefined, 'unverified']) {
    const unproven = { ...release, bakedIdentity }
    const { open, problems } = evaluate({}, { release: unproven, approvals })
    t.equal(open, false)
    t.match(problems.join('\n'), 'no signed ID token says who baked webapi@1.4.2')
    t.equal(evaluate({ 'four-eyes': false }, { release: unproven, approvals }).open, true)
    t.equal(evaluate({ approvals: 0 }, { release: unproven }).open, true)
    t.equal(evaluate({}, { release: unproven, approvals }, true).open, true, 'identity: unverified')
  }
})

t.test('an account that is called as the scanner is not the scanner', async (t) => {
  const list = { approvers: ['ops-wang', 'Harbor-Scan'], approvals: 1 }
  const clean = vote(SCANNER, { identity: SCAN, configRevision: ANY_CONFIG })
  t.equal(evaluate(list, { approvals: [clean] }).open, true)
  const person = vote(SCANNER, { byId: '7', at: LATER })
  const { open, problems } = evaluate(list, { approvals: [person] })
  t.equal(open, false)
  t.match(problems.join('\n'), 'an account of that name is not the scanner')
  const named = vote(SCANNER, { identity: 'unverified' })
  t.equal(evaluate(list, { approvals: [named] }, true).open, false, 'nor by plain variables')
  const pinned = { approvers: ['harbor-scan#7'] }
  t.equal(evaluate(pinned, { approvals: [person] }).open, true, 'by its id a person is meant')
  const madeUp = vote('x', { identity: SCAN, byId: '7', configRevision: ANY_CONFIG })
  t.equal(evaluate(pinned, { approvals: [madeUp] }).open, false, 'a scan has no id')
})

t.test('a person overrides no scan, and a scan no person of that name', async (t) => {
  const bad = vote(SCANNER, { identity: SCAN, decision: 'rejected' })
  const list = { approvers: ['ops-wang', SCANNER, 'group:team/ops'] }
  const more = vote('ops-wang')
  for (const later of [{}, { byId: '7' }, { byId: '7', groups: ['team/ops'] }]) {
    const person = vote(SCANNER, { at: LATER, ...later })
    const { problems } = evaluate(list, { approvals: [bad, person, more] })
    t.match(problems.join('\n'), 'harbor-scan rejected webapi@1.4.2')
  }
  const group = { byId: '7', groups: ['team/ops'] }
  const two = [vote(SCANNER, group), { ...bad, decision: 'approved' as const, at: LATER }]
  const config = { configRevision: ANY_CONFIG }
  const both = two.map((one) => ({ ...one, ...config }))
  t.equal(evaluate({ ...list, approvals: 2 }, { approvals: both }).counted.length, 2)
})

t.test("an account with the scanner's name does not sign off", async (t) => {
  const gate = gateSettings.parse({ approvers: ['ops-wang', SCANNER] })
  const person = { login: SCANNER, id: '7', groups: [] }
  t.match(signOffProblem(gate, { login: 'ops-li' }, person), 'neither an approver')
})
