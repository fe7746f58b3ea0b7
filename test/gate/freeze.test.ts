import fc from 'fast-check'
import t from 'tap'
import { z } from 'zod'
import { issueLines } from '../../src/core/settings/schema.ts'
import { DAY, formatter, instantOf, showDuration, wallClock } from '../../src/gate/calendar.ts'
import { freezesAt } from '../../src/gate/freeze.ts'
import { gateSettings } from '../../src/gate/settings.ts'

const windows = (...freeze: object[]) =>
  gateSettings.parse({ freeze: freeze.map((window) => ({ reason: 'why', ...window })) }).freeze
const at = (instant: string, ...freeze: object[]) =>
  freezesAt(windows(...freeze), new Date(instant)).map(({ until }) => until)

await t.test('gate settings are checked, with a message for each mistake', async (t) => {
  t.strictSame(gateSettings.parse({}), {
    approvals: 1,
    config: 'approve',
    'four-eyes': true,
    verified: true,
    'platform-approvals': false,
    'break-glass': [],
    freeze: [],
  })
  const soft = { approvals: 0, approvers: ['ops-li', 'group:team/ops'], soak: '24h' }
  t.match(gateSettings.parse(soft), { ...soft, soak: DAY })

  const freeze = (window: object) => ({ freeze: [{ reason: 'why', ...window }] })
  const wrong: [object, RegExp][] = [
    [{ approvals: -1 }, /approvals is less than 0/],
    [{ approvals: 1.5 }, /approvals is not a whole number/],
    [{ approvers: [] }, /approvers names nobody/],
    [{ approvers: ['@ops-li'] }, /approvers.0 is not an approver/],
    [{ approvers: ['group:'] }, /approvers.0 is not an approver/],
    [{ approvers: ['Li Wei'] }, /approvers.0 is not an approver/],
    [{ soak: '1 day' }, /soak is not a duration/],
    [{ four_eyes: false }, /four_eyes is not a known setting/],
    [{ freeze: [{ days: ['fri'] }] }, /freeze.0.reason is required/],
    [freeze({ days: ['fri'], reason: ' ' }), /reason must not be empty/],
    [freeze({}), /freeze.0 needs from and to, or days/],
    [freeze({ from: '2026-12-20' }), /needs from and to, or days/],
    [freeze({ days: [] }), /days names none/],
    [freeze({ days: ['friday'] }), /is not a day; write mon/],
    [freeze({ days: ['fri'], after: '24:00' }), /after is not a time/],
    [freeze({ days: ['fri'], before: '8:00' }), /before is not a time/],
    [freeze({ days: ['fri'], zone: 'Mars/Olympus' }), /zone is not a time zone/],
    [freeze({ days: ['fri'], from: '2026-12-20' }), /has dates and days/],
    [freeze({ from: '2026-12-20', to: '2026-12-21', after: '08:00' }), /has after or before/],
    [freeze({ from: '2026-02-30', to: '2026-03-01' }), /from is not a date/],
    [freeze({ from: '20.12.2026', to: '2026-12-21' }), /from is not a date/],
    [freeze({ from: 'fre 16:00', to: 'mon 08:00' }), /from is not a date/],
    [freeze({ from: '2026-12-21', to: '2026-12-20' }), /ends before it begins/],
    [freeze({ from: '2026-12-21T08:00', to: '2026-12-21T08:00' }), /ends before it begins/],
    [freeze({ from: 'fri 16:00', to: '2026-12-20' }), /has a date and a time of the week/],
    [freeze({ from: 'fri 16:00', to: 'fri 16:00' }), /ends before it begins/],
  ]
  for (const [gate, message] of wrong) {
    const { error } = gateSettings.safeParse(gate, { reportInput: true })
    const lines = issueLines(error?.issues ?? []).map(
      ({ path, text }) => `${path.join('.')} ${text}`,
    )
    t.match(lines.join('\n'), message)
  }
  const schema = z.toJSONSchema(gateSettings, { io: 'input' })
  for (const [name, { description }] of Object.entries(schema.properties ?? {}) as [
    string,
    { description?: string },
  ][]) {
    t.ok(description, `${name} is described`)
  }
})

await t.test('a freeze by date holds from its first to its last day', async (t) => {
  const days = { from: '2026-12-20', to: '2027-01-03', zone: 'Europe/Berlin' }
  const until = 'Mon 2027-01-04 00:00 Europe/Berlin'
  t.strictSame(at('2026-12-19T22:59:59Z', days), [])
  t.strictSame(at('2026-12-19T23:00:00Z', days), [until])
  t.strictSame(at('2027-01-03T22:59:59Z', days), [until], 'the last day is frozen too')
  t.strictSame(at('2027-01-03T23:00:00Z', days), [])

  const times = { from: '2026-12-20T16:00', to: '2026-12-21 08:30:30', zone: 'Asia/Shanghai' }
  t.strictSame(at('2026-12-20T08:00:00Z', times), ['Mon 2026-12-21 08:30 Asia/Shanghai'])
  t.strictSame(at('2026-12-21T00:30:30Z', times), [])

  const offsets = { from: '2026-12-20T16:00+01:00', to: '2026-12-21T08:00Z', zone: 'Asia/Tokyo' }
  t.strictSame(at('2026-12-20T14:59:59Z', offsets), [])
  t.strictSame(at('2026-12-20T15:00:00Z', offsets), ['Mon 2026-12-21 17:00 Asia/Tokyo'])
})

await t.test('a weekly freeze holds on its days and times', async (t) => {
  const zone = 'Europe/Berlin'
  const evening = { days: ['fri'], after: '16:00', zone }
  t.strictSame(at('2026-11-27T14:59:00Z', evening), [])
  t.strictSame(at('2026-11-27T15:00:00Z', evening), ['Sat 2026-11-28 00:00 Europe/Berlin'])
  t.strictSame(at('2026-11-27T23:00:00Z', evening), [])

  const weekend = { days: ['sat', 'sun'], zone }
  t.strictSame(
    at('2026-11-27T15:00:00Z', evening, weekend),
    ['Mon 2026-11-30 00:00 Europe/Berlin'],
    'windows that follow one another end together',
  )
  const both = at('2026-11-28T15:00:00Z', weekend, { days: ['sat'], before: '20:00' })
  t.strictSame(both, ['Mon 2026-11-30 00:00 Europe/Berlin', 'Sun 2026-11-29 23:00 UTC'])

  const morning = { days: ['mon'], before: '08:00' }
  t.strictSame(at('2026-11-30T07:59:59Z', morning), ['Mon 2026-11-30 08:00 UTC'])
  t.strictSame(at('2026-11-30T08:00:00Z', morning), [])

  const nights = { days: ['fri', 'sat'], after: '22:00', before: '06:00' }
  t.strictSame(at('2026-11-27T05:00:00Z', nights), [], 'the night of Thursday is not named')
  t.strictSame(at('2026-11-27T23:00:00Z', nights), ['Sat 2026-11-28 06:00 UTC'])
  t.strictSame(at('2026-11-28T05:59:00Z', nights), ['Sat 2026-11-28 06:00 UTC'])
  t.strictSame(at('2026-11-28T12:00:00Z', nights), [], 'each day has a window of its own')
  t.strictSame(at('2026-11-29T05:00:00Z', nights), ['Sun 2026-11-29 06:00 UTC'])
  t.strictSame(at('2026-11-29T23:00:00Z', nights), [])

  const round = { days: ['fri'], after: '08:00', before: '08:00' }
  t.strictSame(at('2026-11-28T07:59:59Z', round), ['Sat 2026-11-28 08:00 UTC'])
  t.strictSame(at('2026-11-28T08:00:00Z', round), [])

  const span = { from: 'fri 16:00', to: 'mon 08:00' }
  t.strictSame(at('2026-11-27T15:59:59Z', span), [])
  for (const instant of ['2026-11-27T16:00Z', '2026-11-28T12:00Z', '2026-11-30T07:59Z']) {
    t.strictSame(at(instant, span), ['Mon 2026-11-30 08:00 UTC'])
  }
  t.strictSame(at('2026-11-30T08:00Z', span), [])
  const most = { from: 'mon 09:00', to: 'mon 08:00' }
  t.strictSame(at('2026-11-30T07:59Z', most), ['Mon 2026-11-30 08:00 UTC'])
  t.strictSame(at('2026-11-30T08:59Z', most), [])
  t.strictSame(at('2026-11-30T09:00Z', most), ['Mon 2026-12-07 08:00 UTC'])

  const always = { days: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] }
  const start = performance.now()
  t.strictSame(at('2026-11-30T08:00Z', always), [undefined])
  t.ok(performance.now() - start < 1000, 'an endless freeze is found out soon')
  const years = { from: '2026-11-30', to: '2029-12-31' }
  t.strictSame(at('2026-11-30T08:00Z', years), ['Tue 2030-01-01 00:00 UTC'])
})

await t.test('a freeze holds through the nights when clocks are changed', async (t) => {
  // Berlin: on 2026-03-29 02:00 becomes 03:00, on 2026-10-25 03:00 becomes 02:00.
  const zone = 'Europe/Berlin'
  const spring = { days: ['sun'], after: '02:30', before: '04:00', zone }
  t.strictSame(at('2026-03-29T00:29:59Z', spring), [])
  t.strictSame(at('2026-03-29T00:30:00Z', spring), ['Sun 2026-03-29 04:00 Europe/Berlin'])
  t.strictSame(at('2026-03-29T02:00:00Z', spring), [])
  const autumn = { days: ['sun'], after: '01:00', before: '02:30', zone }
  t.strictSame(at('2026-10-24T23:00:00Z', autumn), ['Sun 2026-10-25 02:30 Europe/Berlin'])
  t.strictSame(at('2026-10-25T01:29:59Z', autumn), ['Sun 2026-10-25 02:30 Europe/Berlin'])
  t.strictSame(at('2026-10-25T01:30:00Z', autumn), [])
  const night = { days: ['sat'], after: '22:00', before: '08:00', zone }
  t.strictSame(at('2026-10-25T06:59:59Z', night), ['Sun 2026-10-25 08:00 Europe/Berlin'])
  t.strictSame(at('2026-10-25T07:00:00Z', night), [])
  t.strictSame(at('2026-03-29T05:59:59Z', night), ['Sun 2026-03-29 08:00 Europe/Berlin'])
  t.strictSame(at('2026-03-29T06:00:00Z', night), [])
  // Cairo puts its clocks forward at midnight: 2026-04-24 begins at 01:00.
  const cairo = { days: ['fri'], zone: 'Africa/Cairo' }
  t.strictSame(at('2026-04-23T22:00:00Z', cairo), ['Sat 2026-04-25 00:00 Africa/Cairo'])
})

await t.test('a wall-clock time becomes an instant and back', async () => {
  const zones = [
    'UTC',
    'Europe/Berlin',
    'Australia/Lord_Howe',
    'America/St_Johns',
    'Asia/Kathmandu',
  ]
  const clocks = zones.map(formatter)
  const instants = fc.integer({ min: Date.UTC(2020) / 60_000, max: Date.UTC(2035) / 60_000 })
  fc.assert(
    fc.property(fc.constantFrom(...clocks), instants, (clock, minute) => {
      const instant = minute * 60_000
      const wall = wallClock(clock, instant)
      const [first, last] = [instantOf(clock, wall, 'start'), instantOf(clock, wall, 'end')]
      return first <= instant && instant <= last && wallClock(clock, first) === wall
    }),
    { numRuns: 2000 },
  )
})

await t.test('durations are shown in words', async (t) => {
  const cases: [number, string][] = [
    [0, '1 min'],
    [61_000, '2 min'],
    [3_600_000, '1 h'],
    [DAY, '1 day'],
    [DAY - 60_000, '23 h 59 min'],
    [3 * DAY + 3_600_000, '3 days 1 h'],
  ]
  for (const [milliseconds, text] of cases) t.equal(showDuration(milliseconds), text)
})
