import { z } from 'zod'
import { duration } from '../core/settings/schema.ts'
import { isMoment, isZone, momentOf, WEEKDAYS, weeklyOf } from './calendar.ts'

const time = z
  .string()
  .regex(/^(?:[01]\d|2[0-3]):[0-5]\d$/, 'is not a time; write 08:00, 24 hours a day')

const moment = z
  .string()
  .refine(
    (text) => isMoment(text) || weeklyOf(text) !== undefined,
    'is not a date or a time of the week; write 2026-12-20, 2026-12-20T16:00 or fri 16:00',
  )

/** One object for both kinds: a union could not say what is wrong in it. */
const freezeWindow = z
  .strictObject({
    from: moment
      .optional()
      .describe('First day, or date and time, of a freeze; or a time of each week: fri 16:00'),
    to: moment
      .optional()
      .describe('Last day, which is frozen too, or date and time of its end; or as mon 08:00'),
    days: z
      .array(z.enum(WEEKDAYS, 'is not a day; write mon, tue, wed, thu, fri, sat or sun'))
      .min(1, 'names none')
      .optional()
      .describe('Each of these days is frozen by itself, every week'),
    after: time.optional().describe('When it begins on each of these days; default 00:00'),
    before: time
      .optional()
      .describe(
        'When it ends: on the same day, or on the next when that is not after its beginning; default the end of the day',
      ),
    zone: z
      .string()
      .refine(isZone, 'is not a time zone; write Europe/Berlin, Asia/Shanghai or UTC')
      .default('UTC')
      .describe('IANA time zone of these days and times'),
    reason: z.string().trim().min(1, 'must not be empty').describe('Shown to whoever is refused'),
  })
  .check(({ value: { from, to, days, after, before, zone }, issues }) => {
    const problem = (message: string) => issues.push({ code: 'custom', input: undefined, message })
    if (days !== undefined && (from ?? to) !== undefined) {
      return void problem('has dates and days; make two of it')
    }
    if (days !== undefined) return
    if (from === undefined || to === undefined) {
      return void problem('needs from and to, or days')
    }
    if ((after ?? before) !== undefined) {
      return void problem(
        'has after or before, which go with days; write the times into from and to',
      )
    }
    const weekly = [from, to].filter((text) => weeklyOf(text) !== undefined).length
    if (weekly === 1) return void problem('has a date and a time of the week; make both the same')
    // What is no date or zone has been reported already.
    const legible = weekly === 0 && isMoment(from) && isMoment(to) && isZone(zone)
    const forward = !legible || momentOf(from, zone, 'start') < momentOf(to, zone, 'end')
    if (!forward || (weekly === 2 && from === to)) {
      problem('ends before it begins')
    }
  })

export type FreezeWindow = z.output<typeof freezeWindow>

const approver = z
  .string()
  .regex(
    /^(?:group:[^\s@:#]+|[^\s@:#][^\s:#]*(?:#\d+)?)$/,
    'is not an approver; write a login, ops-li, a login with its id, ops-li#42, or a group, group:team/ops',
  )

const breaker = z
  .string()
  .regex(
    /^[^\s@:#][^\s:#]*(?:#\d+)?$/,
    'is not a person; write a login, ops-li, or a login with its id, ops-li#42',
  )

/** `gate:` of an environment in crosscloud.yml: what must be true before a deployment starts. */
export const gateSettings = z.strictObject({
  approvals: z
    .int('is not a whole number')
    .min(0, 'is less than 0')
    .default(1)
    .describe('How many people must approve a release'),
  approvers: z
    .array(approver)
    .min(1, 'names nobody; leave it out, and anybody may approve')
    .optional()
    .describe(
      'Who may approve; default anybody. Logins (ops-li), logins with the id of the account (ops-li#42), groups as GitLab tells them (group:team/ops)',
    ),
  'four-eyes': z
    .boolean()
    .default(true)
    .describe("Whether the commit's author and who baked the release may not approve it"),
  config: z
    .enum(['approve', 'follow'], 'is neither approve nor follow')
    .default('approve')
    .describe(
      'approve: an approval counts for the config that was looked at, and a change of it takes a new one; follow: for any config',
    ),
  soak: duration
    .optional()
    .describe('How long a release must have run in the environment before, such as 24h'),
  verified: z
    .boolean()
    .default(true)
    .describe('Whether a release must have been verified in the environment before'),
  'platform-approvals': z
    .boolean()
    .default(false)
    .describe("Whether GitLab's own approvals of the deployment job count as well (Premium)"),
  'break-glass': z
    .array(breaker)
    .default([])
    .describe(
      'Who may deploy and roll back past the gate when there is no other way, with `--break-glass`: logins (ops-li, ops-li#42); default nobody',
    ),
  freeze: z.array(freezeWindow).default([]).describe('When nothing is deployed'),
})

export type GateSettings = z.output<typeof gateSettings>
