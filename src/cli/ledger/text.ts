import { stat } from 'node:fs/promises'
import { StepError } from '../../core/errors.ts'
import { duration } from '../../core/settings/schema.ts'

/** `2026-11-23 07:40`; tables say once that it is UTC. */
export function minute(time: string | undefined): string {
  return time === undefined ? '' : time.replace('T', ' ').slice(0, 16)
}

/** `3 d`, `4 h`, `12 min`: the largest unit that fits, as people say it. */
export function span(milliseconds: number | undefined): string {
  if (milliseconds === undefined) return '–'
  for (const [unit, size] of UNITS) {
    if (milliseconds >= size) return `${trim(milliseconds / size)} ${unit}`
  }
  return `${Math.round(milliseconds / 1000)} s`
}

const UNITS = [
  ['d', 24 * 3_600_000],
  ['h', 3_600_000],
  ['min', 60_000],
] as const

const trim = (value: number) => (value < 10 ? Number(value.toFixed(1)) : Math.round(value))

export function percent(share: number | undefined): string {
  return share === undefined ? '–' : `${Math.round(share * 100)} %`
}

/** `90d`, `24h`, `2026-11-01` or `2026-11-01T10:00`, as ISO 8601 in UTC. */
export function readSince(text: string, now: Date): string {
  const before = duration.safeParse(text)
  if (before.success) {
    const time = new Date(now.getTime() - before.data)
    if (time.getTime() > 0) return time.toISOString()
  }
  const [, day, hour = '00:00'] = /^(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d))?Z?$/.exec(text) ?? []
  const time = new Date(`${day}T${hour}:00.000Z`)
  // A 31st of February would silently become another day.
  if (!Number.isNaN(time.getTime()) && time.toISOString().startsWith(`${day}`)) {
    return time.toISOString()
  }
  throw new StepError('INPUT_INVALID', `--since "${text}" is no time`, {
    hint: 'Write 7d, 24h, or a date in UTC: 2026-11-01 or 2026-11-01T10:00.',
  })
}

export function readCount(text: string, flag: string): number {
  const count = Number(text)
  if (Number.isInteger(count) && count > 0 && count < 10_000) return count
  throw new StepError('INPUT_INVALID', `${flag} "${text}" is not a number from 1 to 9999`)
}

/** What is written takes the place of what is there: a device's, or a folder's, is not ours to take. */
export async function requireFile(path: string, name: string): Promise<void> {
  const found = await stat(path).catch(() => undefined)
  if (found === undefined || found.isFile()) return
  throw new StepError('INPUT_INVALID', `${name} is not a file`, { hint: 'Name a file for --out.' })
}

/** A rate a day, as a rate a week. */
export function perWeek(aDay: number): string {
  const aWeek = aDay * 7
  return aWeek >= 10 ? `${Math.round(aWeek)}` : aWeek.toFixed(1)
}
