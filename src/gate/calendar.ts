/** Days and times of a time zone, by the zone data that Node carries. Instants are milliseconds. */

export const WEEKDAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const

export const MINUTE = 60_000
export const DAY = 24 * 60 * MINUTE

export function isZone(zone: string): boolean {
  try {
    formatter(zone)
    return true
  } catch {
    return false
  }
}

/** Making one costs more than a hundred uses: one for each zone and evaluation. */
export type Clock = Intl.DateTimeFormat

export function formatter(zone: string): Clock {
  return new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    calendar: 'iso8601',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  })
}

/** What the clock on the wall shows, as if it were UTC. */
export function wallClock(clock: Clock, instant: number): number {
  const parts = new Map(
    clock.formatToParts(instant).map(({ type, value }) => [type, Number(value)]),
  )
  const part = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? 0
  return Date.UTC(
    ...([part('year'), part('month') - 1, part('day')] as const),
    ...([part('hour'), part('minute'), part('second')] as const),
  )
}

/**
 * The instant when the clock on the wall shows `wall`. When clocks are put back it does so twice: a
 * start is the first one, an end the second. When they are put forward it may never do so: then a
 * start is the earlier of the two readings, an end the later. So a freeze is never cut short.
 */
export function instantOf(clock: Clock, wall: number, edge: 'start' | 'end'): number {
  const readings = [wall - DAY, wall + DAY].map((near) => wall - (wallClock(clock, near) - near))
  const exact = readings.filter((instant) => wallClock(clock, instant) === wall)
  const choice = exact.length > 0 ? exact : readings
  return edge === 'start' ? Math.min(...choice) : Math.max(...choice)
}

const MOMENT = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:\.\d+)?(Z|[+-]\d\d:\d\d)?)?$/

/** A date, a date and time of a zone, or one with its own offset. */
export function isMoment(text: string): boolean {
  const [, date = '', time = '00:00', seconds = ':00', offset = 'Z'] = MOMENT.exec(text) ?? []
  if (Number.isNaN(Date.parse(`${date}T${time}${seconds}${offset}`))) return false
  // Date rolls over: 2026-02-30 would be the second of March.
  return new Date(`${date}T00:00Z`).toISOString().startsWith(date)
}

/** The instant of a text that is a moment. A date alone starts with its day and ends with it. */
export function momentOf(text: string, zone: string, edge: 'start' | 'end'): number {
  const [, date = '', time, seconds = ':00', offset] = MOMENT.exec(text) ?? []
  if (offset !== undefined) return Date.parse(`${date}T${time}${seconds}${offset}`)
  const wall = Date.parse(`${date}T${time ?? '00:00'}${seconds}Z`)
  const wholeDay = time === undefined && edge === 'end' ? DAY : 0
  return instantOf(formatter(zone), wall + wholeDay, edge)
}

/** Monday is 0, as in WEEKDAYS; of a wall clock. */
export function weekdayOf(wall: number): number {
  return (new Date(wall).getUTCDay() + 6) % 7
}

const WEEKLY = /^([a-z]{3}) ([01]\d|2[0-3]):([0-5]\d)$/

/** `fri 16:00` as milliseconds from the week's start, on the wall; undefined when it is none. */
export function weeklyOf(text: string): number | undefined {
  const [, name, hours, minutes] = WEEKLY.exec(text) ?? []
  const day = ([...WEEKDAYS] as (string | undefined)[]).indexOf(name)
  if (day < 0) return undefined
  return day * DAY + (Number(hours) * 60 + Number(minutes)) * MINUTE
}

/** `Mon 2026-12-21 08:00 Europe/Berlin`. */
export function showMoment(instant: number, zone: string): string {
  const wall = new Date(wallClock(formatter(zone), instant))
  const [date, time = ''] = wall.toISOString().split('T')
  const day = WEEKDAYS[weekdayOf(wall.getTime())] ?? ''
  return `${day.charAt(0).toUpperCase()}${day.slice(1)} ${date} ${time.slice(0, 5)} ${zone}`
}

/** `2 days 3 h`, `3 h 20 min`, `5 min`: rounded up, at least a minute. */
export function showDuration(milliseconds: number): string {
  const minutes = Math.max(1, Math.ceil(milliseconds / MINUTE))
  const [days, hours, rest] = [
    Math.floor(minutes / 1440),
    Math.floor(minutes / 60) % 24,
    minutes % 60,
  ]
  if (days > 0) return `${days} ${days === 1 ? 'day' : 'days'}${hours > 0 ? ` ${hours} h` : ''}`
  if (hours > 0) return `${hours} h${rest > 0 ? ` ${rest} min` : ''}`
  return `${rest} min`
}
