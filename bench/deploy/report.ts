import type { measureByHand } from './by-hand.ts'
import type { Losses } from './losses.ts'
import type { measureManyHosts } from './many-hosts.ts'
import type { measureParallel } from './parallel.ts'
import type { measureRecreate, measureRollback } from './quiet.ts'
import type { measureSwitches } from './switches.ts'

/** Milliseconds beyond what the application itself takes; how much longer many hosts may take. */
const GOAL = { recreate: 150, rollback: 2000, own: 50, parallel: 1.5, flat: 1.5 }

/** What one part of the bench found, for programs and for people. */
export interface Part {
  json: object
  rows: string[][]
  details: string[]
}

const verdict = (isMet: boolean) => (isMet ? 'met' : 'NOT MET')

const limited = (name: string, value: number, goal: number) => [
  ...[name, `${Math.round(value)} ms`, `≤ ${goal} ms`],
  verdict(value <= goal),
]

const numbers = (round: object) =>
  Object.entries(round)
    .map(([name, value]) => `${name} ${Math.round(value)}`)
    .join(', ')

export function recreatePart(found: Awaited<ReturnType<typeof measureRecreate>>): Part {
  return {
    json: { goal: GOAL.recreate, ...found },
    rows: [limited('recreate: gap beyond stop and boot', found.beyond, GOAL.recreate)],
    details: found.rounds.map(numbers),
  }
}

export function rollbackPart(found: Awaited<ReturnType<typeof measureRollback>>): Part {
  return {
    json: { goal: { beyond: GOAL.rollback, own: GOAL.own }, ...found },
    rows: [
      limited('rollback: serves, beyond the boot', found.beyond, GOAL.rollback),
      limited('time of our own, a host', found.own, GOAL.own),
    ],
    details: found.rounds.map(numbers),
  }
}

export function switchesPart(
  name: string,
  found: Awaited<ReturnType<typeof measureSwitches>>,
): Part {
  const { failed, postsTwice, postsNever, failedVisits, lostSessions } = found
  const isMet = failed + postsTwice + postsNever + failedVisits + lostSessions === 0
  const title = `${found.switches} switches of slots behind ${name}`
  return {
    json: found,
    rows: [[title, lossText(found), 'none lost', verdict(isMet)]],
    details: [
      `a command takes ${found.seconds.toFixed(1)} s, the slowest request ${found.slowest} ms`,
      JSON.stringify(found.errors),
    ],
  }
}

export function parallelPart(found: Awaited<ReturnType<typeof measureParallel>>): Part {
  const { hosts, ratio } = found
  const measured = `${ratio.toFixed(2)} × one host`
  const goal = `≤ ${GOAL.parallel} ×`
  return {
    json: { goal: GOAL.parallel, ...found },
    rows: [[`${hosts} hosts at once`, measured, goal, verdict(ratio <= GOAL.parallel)]],
    details: [numbers(found)],
  }
}

/** Own time is flat where a host among many takes as much as a host among few. */
export function manyHostsPart(found: Awaited<ReturnType<typeof measureManyHosts>>): Part {
  const [few, many] = [found[0], found.at(-1)]
  const ratio = (many?.own ?? Number.NaN) / (few?.own ?? Number.NaN)
  const added = (many?.memory ?? Number.NaN) - (few?.memory ?? Number.NaN)
  const each = added / ((many?.hosts ?? 0) - (few?.hosts ?? 0))
  const flat = `${ratio.toFixed(2)} × that of ${few?.hosts}`
  return {
    json: { goal: { own: GOAL.own, flat: GOAL.flat }, measured: found },
    rows: [
      ...found.map(({ hosts, own }) => limited(`${hosts} hosts: own time, each`, own, GOAL.own)),
      [
        `${many?.hosts} hosts: own time, each`,
        flat,
        `≤ ${GOAL.flat} ×`,
        verdict(ratio <= GOAL.flat),
      ],
      ...found.map(({ hosts, memory }) => [
        `${hosts} hosts: memory`,
        `${Math.round(memory)} MB`,
        '',
        '',
      ]),
      ['memory that each more host takes', `${each.toFixed(2)} MB`, '', ''],
    ],
    details: found.map(numbers),
  }
}

/** A peer has no goal. */
export function byHandPart(
  name: string,
  found: Losses & Partial<Awaited<ReturnType<typeof measureByHand>>>,
): Part {
  return {
    json: found,
    rows: [[`peer: ${name}`, lossText(found), '', '']],
    details: [
      `took ${Math.round(found.took ?? 0)} ms, the slowest request ${found.slowest} ms`,
      JSON.stringify(found.errors),
    ],
  }
}

function lossText(losses: Losses): string {
  const { sent, failed, resets, posts, postsTwice, postsNever } = losses
  const { visits, failedVisits, lostSessions } = losses
  return `${failed} of ${sent} failed (${resets} resets); POSTs ${posts}: ${postsTwice} twice, ${postsNever} never; users: ${failedVisits} of ${visits} pages failed, ${lostSessions} sessions lost`
}
