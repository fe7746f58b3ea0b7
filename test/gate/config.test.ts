import t from 'tap'
import { ANY_CONFIG } from '../../src/gate/facts.ts'
import { evaluate, OTHER, vote } from './facts.ts'

const LATER = '2026-11-23T08:30:00.000Z'
const LAST = '2026-11-23T08:45:00.000Z'
const ops = { approvers: ['ops-li', 'ops-wang'] }

await t.test('an approval counts for the config it was given for', async (t) => {
  const { open, problems } = evaluate(ops, {
    approvals: [vote('ops-li', { configRevision: OTHER })],
  })
  t.equal(open, false)
  t.strictSame(problems, [
    'webapi@1.4.2 needs 1 more approval for production, by ops-li or ops-wang (you): `crosscloud approve --release webapi@1.4.2 --env production --reason …`',
    'the approval of webapi@1.4.2 by ops-li does not count, the config has changed since ops-li approved: look at what changed (`crosscloud config history --env production`), and approve anew.',
  ])
  const anew = vote('ops-li', { at: LATER })
  t.equal(
    evaluate(ops, { approvals: [vote('ops-li', { configRevision: OTHER }), anew] }).open,
    true,
  )
})

await t.test('an approval from before configs were approved does not count', async (t) => {
  const { open, problems } = evaluate(ops, {
    approvals: [vote('ops-li', { configRevision: undefined })],
  })
  t.equal(open, false)
  t.equal(
    problems[1],
    'the approval of webapi@1.4.2 by ops-li does not count, it says nothing of the config: approve anew.',
  )
})

await t.test('where the gate follows the config, each counts', async (t) => {
  for (const configRevision of [OTHER, undefined]) {
    const approvals = [vote('ops-li', { configRevision })]
    t.equal(evaluate({ ...ops, config: 'follow' }, { approvals }).open, true)
  }
})

await t.test('what the environment runs with already needs no approval of its own', async (t) => {
  const approvals = [vote('ops-li', { configRevision: OTHER })]
  t.equal(evaluate(ops, { approvals, configRevision: undefined }).open, true)
  const rejected = vote('ops-wang', { decision: 'rejected' })
  t.equal(
    evaluate(ops, { approvals: [...approvals, rejected], configRevision: undefined }).open,
    false,
  )
})

await t.test("a scanner's word is about the image, whatever the config", async (t) => {
  const approvals = [vote('ops-li', { configRevision: ANY_CONFIG })]
  t.equal(evaluate(ops, { approvals }).open, true)
})

await t.test('a rejection counts whatever the config, until it is taken back', async (t) => {
  const li = vote('ops-li')
  const rejected = vote('ops-wang', { decision: 'rejected', configRevision: undefined, at: LATER })
  const { open, problems } = evaluate(ops, { approvals: [li, rejected] })
  t.equal(open, false)
  t.match(problems, [/^ops-wang rejected webapi@1\.4\.2/])
  const back = vote('ops-wang', { configRevision: OTHER, at: LAST })
  t.match(evaluate(ops, { approvals: [li, rejected, back] }), {
    open: true,
    counted: [{ by: 'ops-li' }],
  })
})

await t.test('an approval of another config leaves that of this one', async (t) => {
  const both = [vote('ops-li'), vote('ops-li', { configRevision: OTHER, at: LATER })]
  t.match(evaluate(ops, { approvals: both }), { open: true, counted: both.slice(0, 1) })
  const rejected = vote('ops-li', { decision: 'rejected', at: LATER })
  const anew = vote('ops-li', { configRevision: OTHER, at: LAST })
  t.equal(
    evaluate(ops, { approvals: [vote('ops-li'), rejected, anew] }).open,
    false,
    'a rejection between them took it back',
  )
})

await t.test('config is approved unless the gate says that it follows', async (t) => {
  t.throws(() => evaluate({ config: 'ignore' }), /is neither approve nor follow/)
})
