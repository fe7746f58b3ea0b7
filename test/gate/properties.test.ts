import fc from 'fast-check'
import t from 'tap'
import type { ApprovalFact } from '../../src/gate/facts.ts'
import { DIGEST, evaluate, ISSUER, OTHER, REVISION } from './facts.ts'

const people = ['li', 'LI', 'wang', 'zhang.wei', 'zhang-wei', 'dev-baker', 'chen', 'Chen']
const words = fc.record({
  by: fc.constantFrom(...people),
  groups: fc.constantFrom([], ['team/ops'], ['team']),
  digest: fc.constantFrom(DIGEST, DIGEST, DIGEST, OTHER),
  configRevision: fc.constantFrom(REVISION, REVISION, REVISION, OTHER, undefined),
  at: fc.constantFrom(1, 2, 3, 4).map((hour) => `2026-11-23T0${hour}:00:00.000Z`),
  identity: fc.constantFrom(ISSUER, ISSUER, 'unverified'),
  decision: fc.constantFrom('approved', 'approved', 'approved', 'rejected'),
  reason: fc.constant('x'),
})
const gates = fc.record({
  approvals: fc.integer({ min: 1, max: 3 }),
  approvers: fc.constantFrom<string[] | undefined>(
    undefined,
    ['li', 'wang', 'chen'],
    ['group:team/ops', 'li'],
  ),
})
const manyWords = fc.array(words as fc.Arbitrary<ApprovalFact>, { maxLength: 12 })

await t.test('an open gate has as many different people as it asks for', async (t) => {
  let opened = 0
  fc.assert(
    fc.property(gates, manyWords, fc.boolean(), (gate, approvals, allowUnverified) => {
      const { open, counted, problems } = evaluate(gate, { approvals }, allowUnverified)
      if (open !== (problems.length === 0)) return false
      if (!open) return true
      opened++
      const allowed = approvals.filter(
        ({ by, digest, configRevision, decision, identity, groups }) =>
          digest === DIGEST &&
          configRevision === REVISION &&
          decision === 'approved' &&
          (allowUnverified || identity !== 'unverified') &&
          !/^(zhang.wei|dev-baker)$/.test(by) &&
          (gate.approvers === undefined ||
            gate.approvers.includes(by.toLowerCase()) ||
            (gate.approvers.includes('group:team/ops') && groups?.includes('team/ops'))),
      )
      const distinct = (all: readonly ApprovalFact[]) =>
        new Set(all.map(({ by }) => by.toLowerCase())).size
      return (
        distinct(counted) === counted.length &&
        counted.every((approval) => allowed.includes(approval)) &&
        distinct(allowed) >= gate.approvals
      )
    }),
    { numRuns: 3000 },
  )
  t.ok(opened > 50, `${opened} gates opened`)
})

await t.test('the author and the baker never open a gate of four eyes', async () => {
  const makers = manyWords.map((all) =>
    all
      .filter(({ by }) => /^(zhang.wei|dev-baker)$/.test(by))
      .map((one) => ({ ...one, digest: DIGEST })),
  )
  fc.assert(
    fc.property(gates, makers, (gate, approvals) => !evaluate(gate, { approvals }, true).open),
  )
})

await t.test('the order of the votes does not matter', async () => {
  const shuffled = manyWords
    // One person says one thing at a time.
    .map((all) => all.map((one, index) => ({ ...one, at: new Date(index * 1000).toISOString() })))
    .chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })))
  fc.assert(
    fc.property(gates, shuffled, (gate, [all, mixed]) => {
      const [one, two] = [evaluate(gate, { approvals: all }), evaluate(gate, { approvals: mixed })]
      const by = ({ counted }: typeof one) =>
        counted
          .map(({ by }) => by.toLowerCase())
          .sort()
          .join()
      return one.open === two.open && by(one) === by(two)
    }),
    { numRuns: 2000 },
  )
})
