import {
  type Clock,
  DAY,
  formatter,
  instantOf,
  MINUTE,
  momentOf,
  showMoment,
  WEEKDAYS,
  wallClock,
  weekdayOf,
  weeklyOf,
} from './calendar.ts'
import { oneLine } from './facts.ts'
import type { FreezeWindow } from './settings.ts'

/** A freeze that is on. */
export interface Freeze {
  reason: string
  /** When deployments may start again, in its own zone; undefined: never, as far as one can see. */
  until: string | undefined
}

/** `production is frozen until 2026-11-30 08:00 (weekend)` */
export function describeFreeze(environment: string, { reason, until }: Freeze): string {
  const end = until === undefined ? 'without an end' : `until ${until}`
  return `${environment} is frozen ${end} (${oneLine(reason)})`
}

/** More windows than this, one upon the other, have no end: a year of days. */
const MOST_WINDOWS = 366
const WEEK = 7 * DAY

/** The freezes that are on now. Windows that follow one another end together. */
export function freezesAt(windows: readonly FreezeWindow[], now: Date): Freeze[] {
  const ends = windows.map(endOf)
  const on = windows.filter((_window, index) => ends[index]?.(now.getTime()) !== undefined)
  if (on.length === 0) return []
  const end = lastEnd(ends, now.getTime())
  return on.map(({ reason, zone }) => ({
    reason,
    until: end === undefined ? undefined : showMoment(end, zone),
  }))
}

/** The end of the window that an instant is in; undefined when it is in none. */
type EndOf = (instant: number) => number | undefined

function lastEnd(windows: readonly EndOf[], now: number): number | undefined {
  let at = now
  for (let count = 0; count < MOST_WINDOWS; count++) {
    const ends = windows.map((end) => end(at)).filter((end) => end !== undefined)
    if (ends.length === 0) return at
    at = Math.max(...ends)
  }
  return undefined
}

function endOf(window: FreezeWindow): EndOf {
  const { from = '', to = '', zone } = window
  const spans = weeklySpans(window)
  if (spans.length > 0) {
    const clock = formatter(zone)
    return (instant) => endOfWeekly(spans, clock, instant)
  }
  const [start, end] = [momentOf(from, zone, 'start'), momentOf(to, zone, 'end')]
  return (instant) => (start <= instant && instant < end ? end : undefined)
}

/** A window of each week on the wall clock: a weekday, and milliseconds from its midnight. */
interface Span {
  day: number
  start: number
  end: number
}

function weeklySpans({ from = '', to = '', days = [], after, before }: FreezeWindow): Span[] {
  const [first, last] = [weeklyOf(from), weeklyOf(to)]
  if (first !== undefined && last !== undefined) {
    const day = Math.floor(first / DAY)
    const length = (last - first + WEEK) % WEEK
    return [{ day, start: first % DAY, end: (first % DAY) + length }]
  }
  const start = after === undefined ? 0 : minutes(after)
  const end = before === undefined ? DAY : minutes(before)
  return days.map((name) => ({
    day: WEEKDAYS.indexOf(name),
    start,
    end: end > start ? end : end + DAY,
  }))
}

function endOfWeekly(spans: readonly Span[], clock: Clock, instant: number): number | undefined {
  const today = Math.floor(wallClock(clock, instant) / DAY) * DAY
  const ends: number[] = []
  // None is longer than a week, so those on now began within the last eight days.
  for (let day = today - WEEK; day <= today; day += DAY) {
    for (const span of spans) {
      if (span.day !== weekdayOf(day) || day + span.end < today - DAY) continue
      const end = instantOf(clock, day + span.end, 'end')
      if (instantOf(clock, day + span.start, 'start') <= instant && instant < end) ends.push(end)
    }
  }
  return ends.length === 0 ? undefined : Math.max(...ends)
}

function minutes(time: string): number {
  const [hours = 0, rest = 0] = time.split(':').map(Number)
  return (hours * 60 + rest) * MINUTE
}
