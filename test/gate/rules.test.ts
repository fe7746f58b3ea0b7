import t from 'tap'
import type { GateFacts } from '../../src/gate/rules.ts'
import { evaluate, OTHER, release, vote } from './facts.ts'

const APPROVE = '`crosscloud approve --release webapi@1.4.2 --env production --reason …`'
const ops = { approvers: ['ops-li', 'ops-wang'] }
const anyone = 'anybody, but not Zhang Wei <zhang.wei@example.com> or dev-baker'

await t.test('enough approvals that count open the gate', async (t) => {
  const group = vote('ops-chen', { groups: ['team', 'Team/Ops'] })
  const again = vote('OPS-LI', { at: '2026-11-23T08:30:00.000Z' })
  const rejected = vote('ops-li', { decision: 'rejected', at: '2026-11-23T07:00:00.000Z' })
  const author = { release: { ...release, author: undefined } }
  const cases: [string, object, Partial<GateFacts>, string[]][] = [
    ['by anybody', {}, { approvals: [vote('ops-li')] }, ['ops-li']],
    ['by one on the list', ops, { approvals: [vote('Ops-Li')] }, ['Ops-Li']],
    ['by a group', { approvers: ['group:team/ops'] }, { approvals: [group] }, ['ops-chen']],
    [
      'by two',
      { ...ops, approvals: 2 },
      { approvals: [vote('ops-wang'), vote('ops-li')] },
      ['ops-wang', 'ops-li'],
    ],
    ['the newest word', ops, { approvals: [again, rejected] }, ['OPS-LI']],
    ['none is asked', { approvals: 0 }, {}, []],
    ['none is asked, author unknown', { approvals: 0 }, author, []],
    ['more than asked', ops, { approvals: [again, vote('ops-wang')] }, ['OPS-LI', 'ops-wang']],
    [
      'two eyes',
      { 'four-eyes': false },
      { ...author, approvals: [vote('zhang-wei')] },
      ['zhang-wei'],
    ],
    [
      'a stranger rejects',
      ops,
      { approvals: [again, vote('x', { decision: 'rejected' })] },
      ['OPS-LI'],
    ],
    [
      'no signature, a rejection',
      ops,
      { approvals: [vote('ops-li'), { ...again, decision: 'rejected', identity: 'unverified' }] },
      ['ops-li'],
    ],
    [
      'another image was rejected',
      ops,
      { approvals: [vote('ops-li'), { ...again, decision: 'rejected', digest: OTHER }] },
      ['ops-li'],
    ],
  ]
  for (const [name, gate, more, by] of cases) {
    const { open, problems, counted } = evaluate(gate, more)
    t.strictSame({ open, problems }, { open: true, problems: [] }, name)
    t.strictSame(
      counted.map((approval) => approval.by),
      by,
      name,
    )
  }
})

await t.test('approvals that do not count leave the gate closed, and say why', async (t) => {
  const needs = (who: string, more = '1 more approval') =>
    `webapi@1.4.2 needs ${more} for production, by ${who}: ${APPROVE}`
  const idle = (by: string, why: string) =>
    `the approval of webapi@1.4.2 by ${by} does not count, ${why}.`
  const unsigned = vote('ops-li', { identity: 'unverified' })
  const later = { at: '2026-11-23T08:30:00.000Z' }
  const cases: [string, object, Partial<GateFacts>, string[]][] = [
    ['none', ops, {}, [needs('ops-li or ops-wang (you)')]],
    ['none, of anybody', {}, {}, [needs(anyone)]],
    ['none, of anybody at all', { 'four-eyes': false }, {}, [needs('anybody')]],
    [
      'one of two',
      { ...ops, approvals: 2 },
      { approvals: [vote('ops-li')] },
      [needs('ops-wang (you)')],
    ],
    [
      'one of two, of anybody',
      { approvals: 2 },
      { approvals: [vote('ops-li')] },
      [needs('anybody, but not Zhang Wei <zhang.wei@example.com>, dev-baker or ops-li')],
    ],
    [
      'one person twice',
      { ...ops, approvals: 2 },
      { approvals: [vote('ops-li'), vote('OPS-LI', later)] },
      [needs('ops-wang (you)')],
    ],
    [
      'three are asked of two',
      { ...ops, approvals: 3 },
      {},
      [
        'webapi@1.4.2 needs 3 more approvals for production, but only ops-li or ops-wang may still give one: name more approvers in its gate, or ask for fewer.',
      ],
    ],
    [
      'the list is the baker',
      { approvers: ['dev-baker', 'Dev-Baker'] },
      {},
      [
        'webapi@1.4.2 needs 1 more approval for production, but nobody on the list may still give one: name more approvers in its gate, or ask for fewer.',
      ],
    ],
    [
      'not on the list',
      { approvers: ['ops-li', 'group:team/ops'] },
      { approvals: [vote('dev-zhao', { groups: ['team'] })] },
      [
        needs('ops-li or a member of team/ops'),
        idle('dev-zhao', 'dev-zhao is not among the approvers: ask ops-li or a member of team/ops'),
      ],
    ],
    [
      'called like a group',
      { approvers: ['group:team/ops'] },
      { approvals: [vote('group:team/ops')] },
      [
        needs('a member of team/ops'),
        idle(
          'group:team/ops',
          'group:team/ops is not among the approvers: ask a member of team/ops',
        ),
      ],
    ],
    [
      'the author',
      {},
      { approvals: [vote('zhangwei')] },
      [needs(anyone), idle('zhangwei', 'zhangwei wrote it: let somebody else approve')],
    ],
    [
      'the baker',
      { approvers: ['Dev-Baker', 'ops-li'] },
      { approvals: [vote('Dev-Baker')] },
      [needs('ops-li'), idle('Dev-Baker', 'Dev-Baker baked it: let somebody else approve')],
    ],
    [
      'another image',
      ops,
      { approvals: [vote('ops-li', { digest: OTHER })] },
      [
        needs('ops-li or ops-wang (you)'),
        idle(
          'ops-li',
          'it is for another image (sha256:bbbbbbbbbbbb): look at this one, and approve it anew',
        ),
      ],
    ],
    [
      'no signature',
      ops,
      { approvals: [unsigned] },
      [
        needs('ops-li or ops-wang (you)'),
        idle('ops-li', 'no signed ID token says who that was: approve in a job that has one'),
      ],
    ],
    [
      'a rejection',
      ops,
      {
        approvals: [
          vote('ops-li'),
          vote('ops-wang', { decision: 'rejected', reason: 'a\n\u001bb' }),
        ],
      },
      [
        'ops-wang rejected webapi@1.4.2 for production at 2026-11-23T08:00:00.000Z (a b): deploy another version, or let ops-wang approve this one.',
      ],
    ],
    [
      'a rejection by the author, with none asked',
      { approvals: 0 },
      { approvals: [vote('zhang.wei', { decision: 'rejected', reason: undefined })] },
      [
        'zhang.wei rejected webapi@1.4.2 for production at 2026-11-23T08:00:00.000Z (no reason given): deploy another version, or let zhang.wei approve this one.',
      ],
    ],
    [
      'both at once',
      ops,
      { approvals: [vote('ops-li', { decision: 'rejected' }), vote('ops-li')] },
      [
        'ops-li rejected webapi@1.4.2 for production at 2026-11-23T08:00:00.000Z (looks good): deploy another version, or let ops-li approve this one.',
        needs('ops-li or ops-wang (you)'),
      ],
    ],
    [
      'a change of mind',
      ops,
      { approvals: [vote('ops-li', { decision: 'rejected', ...later }), vote('OPS-li')] },
      [
        'ops-li rejected webapi@1.4.2 for production at 2026-11-23T08:30:00.000Z (looks good): deploy another version, or let ops-li approve this one.',
        needs('ops-li or ops-wang (you)'),
      ],
    ],
    [
      'built with files that are in no commit',
      {},
      { release: { ...release, commit: 'abc123+dirty' }, approvals: [vote('ops-li')] },
      [
        'webapi@1.4.2 was built with files that are in no commit (abc123+dirty), so four-eyes cannot tell who wrote them: commit them and build again, or set four-eyes to false.',
      ],
    ],
    [
      'nobody wrote it',
      {},
      { release: { ...release, author: ' ', bakedBy: '' }, approvals: [vote('ops-li')] },
      [
        'nobody is recorded as the one who wrote and baked webapi@1.4.2, so four-eyes cannot be judged: bake it in a pipeline that knows, or set four-eyes to false.',
      ],
    ],
  ]
  for (const [name, gate, more, problems] of cases) {
    const evaluation = evaluate(gate, more)
    t.equal(evaluation.open, false, name)
    t.strictSame(evaluation.problems, problems, name)
  }
})

await t.test(
  'the environment before must have verified and run the release long enough',
  async (t) => {
    const none = { approvals: 0 }
    const soak = { ...none, soak: '24h' }
    const staging = (more: object) => ({ before: { environment: 'staging', ...more } })
    const deploy = '`crosscloud deploy --release webapi@1.4.2 --env staging`'
    const finishedAt = '2026-11-22T09:00:00.000Z'
    const cases: [string, object, Partial<GateFacts>, string | undefined][] = [
      ['there is none', none, { before: undefined }, undefined],
      [
        'there is none to soak in',
        soak,
        { before: undefined },
        'the gate of production asks for a soak, but no environment comes before it: write "from" under production, or take soak away.',
      ],
      [
        'not there',
        none,
        staging({}),
        `webapi@1.4.2 has not been deployed to staging: do that first: ${deploy}`,
      ],
      [
        'not there yet',
        soak,
        staging({}),
        `webapi@1.4.2 has not been deployed to staging: do that first and let it run for 1 day: ${deploy}`,
      ],
      ['nothing is asked', { ...none, verified: false }, staging({}), undefined],
      ['verified', none, staging({ finishedAt, verified: true }), undefined],
      [
        'not verified',
        none,
        staging({ finishedAt, verified: false }),
        `webapi@1.4.2 was not verified in staging: deploy it there again: ${deploy}`,
      ],
      [
        'not verified, and a soak',
        soak,
        staging({ finishedAt }),
        `webapi@1.4.2 was not verified in staging: deploy it there again and let it run for 1 day: ${deploy}`,
      ],
      ['unasked', { ...soak, verified: false }, staging({ finishedAt }), undefined],
      ['24 h', soak, staging({ finishedAt, verified: true }), undefined],
      [
        'a second less',
        soak,
        staging({ finishedAt: '2026-11-22T09:00:01.000Z', verified: true }),
        'webapi@1.4.2 runs in staging since 2026-11-22T09:00:01.000Z and must run there for 1 day: deploy it after 2026-11-23T09:00:01.000Z.',
      ],
      [
        'an unreadable time',
        soak,
        staging({ finishedAt: 'yesterday', verified: true }),
        'webapi@1.4.2 runs in staging since yesterday and must run there for 1 day: deploy it there again.',
      ],
      [
        'replaced too early',
        soak,
        staging({
          finishedAt: '2026-11-20T09:00:00.000Z',
          verified: true,
          replacedAt: '2026-11-20T10:00:00.000Z',
        }),
        `another release took the place of webapi@1.4.2 in staging at 2026-11-20T10:00:00.000Z, too early, as it ran there since 2026-11-20T09:00:00.000Z and must run there for 1 day: ${deploy}`,
      ],
      [
        'replaced after its soak',
        soak,
        staging({ finishedAt: '2026-11-20T09:00:00.000Z', verified: true, replacedAt: finishedAt }),
        undefined,
      ],
    ]
    for (const [name, gate, more, problem] of cases) {
      const { open, problems } = evaluate(gate, more)
      t.strictSame(problems, problem === undefined ? [] : [problem], name)
      t.equal(open, problem === undefined, name)
    }
  },
)
