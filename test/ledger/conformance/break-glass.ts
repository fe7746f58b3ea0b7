import type { Test } from 'tap'
import type { Ledger } from '../../../src/ledger/ledger.ts'
import { ended, HOSTILE, MINUTE, type OpenLedger, release, start } from './samples.ts'

const DAY = 24 * 60 * MINUTE

/** What went past a gate is written with the start of its deployment, and listed until it is signed off. */
export async function keepsBreakGlass(t: Test, _: Ledger, open: OpenLedger): Promise<void> {
  let time = Date.parse('2026-05-01T12:00:00.000Z')
  const ledger = await open({ now: () => time })
  t.teardown(() => ledger.close())
  await ledger.recordRelease(release('1.0.0'))
  await ledger.recordRelease(release('5.0.0', { app: 'shop' }))
  const put = async (environment: string, more: object = {}, made = release('1.0.0')) => {
    const { id } = await start(ledger, made, environment, more)
    await ledger.endDeployment(id, ended('succeeded'))
    return id
  }
  const plain = await put('production', { reason: 'as usual' })
  const lock = await ledger.lock('webapi', 'production', 'wang', 'night', MINUTE)
  const asked = {
    by: 'wang',
    identity: 'unverified',
    reason: HOSTILE,
    jobUrl: 'https://ci.test/7',
    breakGlass: {},
    lockToken: lock.token,
  }
  const begun = await start(ledger, release('1.0.0'), 'production', asked)
  const expected = {
    by: 'wang',
    byId: undefined,
    identity: 'unverified',
    reason: HOSTILE,
    at: new Date(time).toISOString(),
    due: new Date(time + DAY).toISOString(),
    signedOff: undefined,
  }
  t.strictSame(begun.breakGlass, expected)
  time += MINUTE
  const again = await start(ledger, release('1.0.0'), 'production', asked)
  t.strictSame([again.id, again.breakGlass], [begun.id, expected], 'asked twice, it is done once')
  t.match(await ledger.events({ limit: 10 }), [
    { action: 'break-glass', subject: begun.id, by: 'wang', reason: HOSTILE },
  ])
  t.equal((await ledger.events({ limit: 10 })).length, 1)
  await ledger.endDeployment(begun.id, ended('succeeded'))

  const glass = { reason: 'night', breakGlass: { byId: '7' } }
  await put('test', glass)
  const other = await put('production', glass, release('5.0.0', { app: 'shop' }))
  const unsigned = (query: object = {}) => ledger.unsigned(query)
  const ours = {
    app: 'webapi',
    environment: 'production',
    deployment: begun.id,
    by: 'wang',
    reason: HOSTILE,
    at: expected.at,
    due: expected.due,
  }
  const place = { app: 'webapi', environment: 'production' }
  t.strictSame(await unsigned(place), [ours])
  t.equal((await unsigned()).length, 3)
  t.equal((await unsigned({ app: 'webapi' })).length, 2)
  t.match(await unsigned({ environment: 'production' }), [ours, { deployment: other }])
  const cells = await ledger.status(place)
  t.strictSame(cells[0]?.unsigned, [ours])
  const history = await ledger.deployments({ ...place, limit: 10 })
  t.strictSame(
    history.map((one) => [one.id, one.breakGlass]),
    [
      [begun.id, expected],
      [plain, undefined],
    ],
  )

  const word = { ...place, action: 'sign-off', identity: 'https://ci.test', byId: '8' } as const
  const sign = (subject: string, by: string, more: object = {}) =>
    ledger.recordEvent({ ...word, subject, by, reason: 'looks right', ...more })
  await sign(begun.id, 'li', { environment: 'test' })
  await sign(plain, 'li')
  t.strictSame(await unsigned(place), [ours], 'what is signed off elsewhere is not signed off here')
  const signed = await sign(begun.id, 'li')
  await sign(begun.id, 'chen')
  t.strictSame(await unsigned(place), [])
  t.strictSame((await ledger.status(place))[0]?.unsigned, [])
  const { by, identity, reason, at } = signed
  t.strictSame(
    (await ledger.findDeployment(begun.id))?.breakGlass,
    { ...expected, signedOff: { by, identity, reason, at } },
    'the first one stays',
  )
  // The account of deployments can write an event about a deployment that is still to come.
  const next = `d${Number(other.slice(1)) + 1}`
  await sign(next, 'li', { reason: 'before the deed' })
  t.equal(await put('production', glass), next)
  const early = (await ledger.findDeployment(next))?.breakGlass
  t.match(early, { reason: 'night', signedOff: undefined }, 'nobody signs off what is to come')
  t.match(await unsigned(place), [{ deployment: next }])
  await sign(next, 'chen')
  t.strictSame(await unsigned(place), [])
  t.match((await ledger.findDeployment(next))?.breakGlass?.signedOff, { by: 'chen' })
  // Nor does it make the deed another one's, so that who did it may sign it off.
  for (const stranger of ['zhao', 'wang']) {
    const deed = { ...place, action: 'break-glass', identity: 'unverified', byId: '666' } as const
    await ledger.recordEvent({ ...deed, subject: begun.id, by: stranger, reason: 'it was me' })
  }
  const { by: who, reason: why } = (await ledger.findDeployment(begun.id))?.breakGlass ?? {}
  t.strictSame([who, why], ['wang', HOSTILE])
  const silent = start(ledger, release('1.0.0'), 'test', { breakGlass: {}, reason: undefined })
  await t.rejects(silent, { code: 'INPUT_INVALID', message: /reason/ })
}
