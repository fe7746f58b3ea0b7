import t from 'tap'
import { mayBreakGlass, signOffProblem } from '../../src/gate/break-glass.ts'
import { gateSettings } from '../../src/gate/settings.ts'
import { evaluate, vote } from './facts.ts'

const unsigned = {
  deployment: 'd12',
  by: 'ops-li',
  reason: 'the shop\nis down',
  at: '2026-11-22T09:00:00.000Z',
  due: '2026-11-23T09:00:00.000Z',
}
const gate = (more: object) => gateSettings.parse(more)

t.test('nobody may break the glass until the settings name somebody', async (t) => {
  t.equal(mayBreakGlass(gate({}), { login: 'ops-li' }), false)
  const named = gate({ 'break-glass': ['ops-li', 'ops-wang#42'] })
  t.equal(mayBreakGlass(named, { login: 'Ops-Li' }), true)
  t.equal(mayBreakGlass(named, { login: 'ops-chen' }), false)
  t.equal(mayBreakGlass(named, { login: 'ops-wang' }), true, 'without a token no id is known')
  t.equal(mayBreakGlass(named, { login: 'ops-wang', id: '7' }), false, 'a new account')
  t.equal(mayBreakGlass(named, { login: 'wang', id: '42' }), true, 'a new name')
  for (const bad of ['group:team/ops', 'ops li', '', '#42']) {
    t.match(gateSettings.safeParse({ 'break-glass': [bad] }), { success: false }, bad)
  }
})

t.test('a second person signs it off: on the list, or an approver', async (t) => {
  const broke = { login: 'ops-li', id: '7' }
  const person = (login: string, id = '8', groups: string[] = []) => ({ login, id, groups })
  const named = gate({ 'break-glass': ['ops-li', 'ops-wang'], approvers: ['group:team/ops'] })
  t.equal(signOffProblem(named, broke, person('ops-wang')), undefined)
  t.equal(signOffProblem(named, broke, person('chen', '9', ['team/ops'])), undefined)
  t.match(signOffProblem(named, broke, person('chen')), 'chen is neither an approver nor')
  t.match(signOffProblem(named, broke, person('renamed', '7', ['team/ops'])), 'renamed did it')
  const unverified = { login: 'ops-li' }
  t.match(signOffProblem(named, unverified, person('Ops.Li', '7')), 'Ops.Li did it')
  const pinned = gate({ 'break-glass': ['ops-li#7'] })
  t.match(signOffProblem(pinned, unverified, person('renamed', '7')), 'renamed did it')
  t.equal(signOffProblem(pinned, unverified, person('renamed', '8')), undefined)
  t.equal(signOffProblem(gate({}), broke, person('anybody')), undefined, 'anybody may approve')
})

t.test('what nobody signed off in time closes the gate, and not before', async (t) => {
  const approvals = [vote('ops-wang')]
  const before = new Date('2026-11-23T08:59:59.999Z')
  t.equal(evaluate({}, { approvals, unsigned: [unsigned], now: before }).open, true)
  const { open, problems } = evaluate(
    {},
    { approvals, unsigned: [unsigned], now: new Date(unsigned.due) },
  )
  t.equal(open, false)
  t.strictSame(problems, [
    'ops-li went past the gate of production with d12 (the shop is down), and nobody signed it off until 2026-11-23T09:00:00.000Z: `crosscloud sign-off d12 --env production --reason …`',
  ])
  const unreadable = { ...unsigned, due: 'tomorrow' }
  t.equal(evaluate({}, { approvals, unsigned: [unreadable], now: before }).open, false)
})
