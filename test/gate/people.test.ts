import t from 'tap'
import { SCAN, SCANNER } from '../../src/core/scanner.ts'
import { signOffProblem } from '../../src/gate/break-glass.ts'
import { ANY_CONFIG } from '../../src/gate/facts.ts'
import { gateSettings } from '../../src/gate/settings.ts'
import { judge, release, word } from './facts.ts'

const LATER = '2026-11-23T08:30:00.000Z'

t.test('a person who is renamed has one vote still', async (t) => {
  const before = word('ops-li', { byId: '42' })
  const after = word('ops-lee', { byId: '42', at: LATER })
  const twice = judge({ approvals: 2 }, { approvals: [before, after] })
  t.equal(twice.open, false)
  t.strictSame(twice.counted, [after], 'the newest word')
  const old = judge({ approvals: 2 }, { approvals: [word('ops-li'), { ...before, at: LATER }] })
  t.equal(old.counted.length, 1, 'a word from before ids were kept is of whoever had that name')
  const rejected = word('ops-lee', { byId: '42', at: LATER, decision: 'rejected' })
  t.equal(judge({}, { approvals: [before, rejected] }).open, false, 'and may take it back')
  const two = [before, word('ops-wang', { byId: '43' })]
  t.equal(judge({ approvals: 2 }, { approvals: two }).open, true, 'two people have two')
})

t.test('an approver who is pinned to an id is that account, by whatever name', async (t) => {
  const gate = { approvers: ['ops-li#42'] }
  t.equal(judge(gate, { approvals: [word('ops-lee', { byId: '42' })] }).open, true)
  for (const other of [word('ops-li', { byId: '7' }), word('ops-li')]) {
    const { open, problems } = judge(gate, { approvals: [other] })
    t.equal(open, false, 'somebody took the name that was given up')
    t.match(problems.join('\n'), 'ops-li is not among the approvers: ask ops-li#42')
  }
  const rejected = word('ops-li', { byId: '7', decision: 'rejected' })
  const mine = word('ops-lee', { byId: '42' })
  t.equal(judge(gate, { approvals: [mine, rejected] }).open, true, 'nor keeps it out')
  for (const wrong of ['#42', 'ops-li#', 'ops-li#x', 'ops-li#4#2', 'group:team/ops#42']) {
    t.notOk(gateSettings.safeParse({ approvers: [wrong] }).success, wrong)
  }
})

t.test('four eyes know the account that baked, by whatever name', async (t) => {
  const baked = { ...release, bakedById: '42', bakedByMail: 'li@example.com' }
  const renamed = judge({}, { release: baked, approvals: [word('ops-lee', { byId: '42' })] })
  t.match(renamed.problems.join('\n'), 'ops-lee baked it')
  const other = word('dev-baker', { byId: '43' })
  t.equal(judge({}, { release: baked, approvals: [other] }).open, true, 'another took its old name')
  const byMail = word('ops-lee', { byMail: 'LI@example.com' })
  t.equal(judge({}, { release: baked, approvals: [byMail] }).open, false)
})

t.test('the mail of a token is held against the author of the commit', async (t) => {
  const author = word('zw-4711', { byMail: 'zhang.wei@example.com', byId: '9' })
  const { open, problems } = judge({}, { approvals: [author] })
  t.equal(open, false)
  t.match(problems.join('\n'), 'zw-4711 wrote it')
})

t.test('without a signed token of whoever baked it, four eyes stay closed', async (t) => {
  const approvals = [word('ops-li')]
  for (const bakedIdentity of [undefined, 'unverified']) {
    const unproven = { ...release, bakedIdentity }
    const { open, problems } = judge({}, { release: unproven, approvals })
    t.equal(open, false)
    t.match(problems.join('\n'), 'no signed ID token says who baked webapi@1.4.2')
    t.equal(judge({ 'four-eyes': false }, { release: unproven, approvals }).open, true)
    t.equal(judge({ approvals: 0 }, { release: unproven }).open, true)
    t.equal(judge({}, { release: unproven, approvals }, true).open, true, 'identity: unverified')
  }
})

t.test('an account that is called as the scanner is not the scanner', async (t) => {
  const list = { approvers: ['ops-wang', 'Harbor-Scan'], approvals: 1 }
  const clean = word(SCANNER, { identity: SCAN, configRevision: ANY_CONFIG })
  t.equal(judge(list, { approvals: [clean] }).open, true)
  const person = word(SCANNER, { byId: '7', at: LATER })
  const { open, problems } = judge(list, { approvals: [person] })
  t.equal(open, false)
  t.match(problems.join('\n'), 'an account of that name is not the scanner')
  const named = word(SCANNER, { identity: 'unverified' })
  t.equal(judge(list, { approvals: [named] }, true).open, false, 'nor by plain variables')
  const pinned = { approvers: ['harbor-scan#7'] }
  t.equal(judge(pinned, { approvals: [person] }).open, true, 'by its id a person is meant')
  const madeUp = word('x', { identity: SCAN, byId: '7', configRevision: ANY_CONFIG })
  t.equal(judge(pinned, { approvals: [madeUp] }).open, false, 'a scan has no id')
})

t.test('a person overrides no scan, and a scan no person of that name', async (t) => {
  const bad = word(SCANNER, { identity: SCAN, decision: 'rejected' })
  const list = { approvers: ['ops-wang', SCANNER, 'group:team/ops'] }
  const more = word('ops-wang')
  for (const later of [{}, { byId: '7' }, { byId: '7', groups: ['team/ops'] }]) {
    const person = word(SCANNER, { at: LATER, ...later })
    const { problems } = judge(list, { approvals: [bad, person, more] })
    t.match(problems.join('\n'), 'harbor-scan rejected webapi@1.4.2')
  }
  const group = { byId: '7', groups: ['team/ops'] }
  const two = [word(SCANNER, group), { ...bad, decision: 'approved' as const, at: LATER }]
  const config = { configRevision: ANY_CONFIG }
  const both = two.map((one) => ({ ...one, ...config }))
  t.equal(judge({ ...list, approvals: 2 }, { approvals: both }).counted.length, 2)
})

t.test('nor does an account of that name sign off', async (t) => {
  const gate = gateSettings.parse({ approvers: ['ops-wang', SCANNER] })
  const person = { login: SCANNER, id: '7', groups: [] }
  t.match(signOffProblem(gate, { login: 'ops-li' }, person), 'neither an approver')
})
