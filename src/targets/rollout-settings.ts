import { z } from 'zod'
import { readOrReport, waitingTime } from '../core/settings/schema.ts'

/** So many hosts, or a share of those that are to be changed. */
export type HostCount = { hosts: number } | { percent: number }

export const failurePolicies = ['restore', 'stop', 'continue'] as const
export type FailurePolicy = (typeof failurePolicies)[number]

/** In which order, and how many at once, the hosts of an environment are changed. */
export interface RolloutStrategy {
  /** How many hosts are changed at once. */
  parallel: HostCount
  /** Milliseconds between two batches. */
  pause: number
  /** How many hosts are changed and watched before the rest; 0 for none. */
  canary: HostCount
  /** Milliseconds for which the canary is watched. */
  watch: number
  /**
   * By how many percent of its responses the canary may have more server errors than the other
   * hosts meanwhile, where the proxy counts them.
   */
  maxErrorRate: number
  onFailure: FailurePolicy
}

/** Commands that run once for a whole deployment, in its image. */
export interface OneOffCommands {
  /** Before the first host: program and arguments. */
  before: readonly string[] | undefined
  /** After the last host. */
  after: readonly string[] | undefined
  /** Milliseconds that each may take. */
  timeout: number
}

export interface RolloutSettings {
  strategy: RolloutStrategy
  commands: OneOffCommands
}

/** `3` or `25%`. Throws for anything else. */
export function parseHostCount(written: string | number, least: 0 | 1): HostCount {
  const [, digits = '', percent] = /^(\d{1,6})(%)?$/.exec(String(written)) ?? []
  const amount = Number(digits)
  if (digits === '' || amount < least) {
    throw new Error(`is no number of hosts; write ${least} or more, or a share: '25%'`)
  }
  if (percent === undefined) return { hosts: amount }
  if (amount < 1 || amount > 100) throw new Error("is no share of the hosts; write '1%' to '100%'")
  return { percent: amount }
}

/** `5%` or `0.5%`, as a number. Throws for anything else. */
function parsePercent(written: string): number {
  const [, number] = /^(\d{1,3}(?:\.\d{1,3})?)%$/.exec(written) ?? []
  if (number !== undefined && Number(number) <= 100) return Number(number)
  throw new Error("is no share; write '5%' or '0.5%'")
}

const hostCount = (least: 0 | 1) =>
  z
    .union([z.number(), z.string()])
    // After the union: a problem inside one of its members would be reported as "Invalid input".
    .transform((written, check) => readOrReport(() => parseHostCount(written, least), check))

const argument = z.string().regex(/^[^\0]*$/, 'has a NUL')
const command = z
  .array(argument)
  .refine(([program]) => program !== '', 'begins with the program to run')

/** `rollout:` in crosscloud.yml; an environment may override parts of it. */
export const rolloutSettings = z.strictObject({
  parallel: hostCount(1)
    .optional()
    .describe("How many hosts are changed at once: 1 (default), 4 or '50%'"),
  pause: waitingTime
    .optional()
    .describe('How long to wait between two batches of hosts; default 0s'),
  canary: hostCount(0)
    .optional()
    .describe(
      "How many hosts are changed and watched before the rest: 1 or '10%'; where the proxy has weights, a share is that of the requests; default 0",
    ),
  watch: waitingTime
    .optional()
    .describe('How long the canary must stay healthy before the rest follow; default 1m'),
  'max-error-rate': z
    .string()
    .transform((written, check) => readOrReport(() => parsePercent(written), check))
    .optional()
    .describe(
      "By how much the canary's share of responses with a status of 500 or more may exceed that of the other hosts, where the proxy counts them; default 5%",
    ),
  'on-failure': z
    .enum(failurePolicies)
    .optional()
    .describe(
      'restore: all hosts run what they ran before (default); stop: changed hosts keep the new release, the rest is not touched; continue: the rest is changed, too',
    ),
  before: command
    .optional()
    .describe('Command run once in the new image before the first host: [/opt/migrate.sh, all]'),
  after: command.optional().describe('Command run once in the new image after the last host'),
  timeout: waitingTime.optional().describe('How long before and after may each take; default 15m'),
})

export type WrittenRollout = z.output<typeof rolloutSettings>

/** With its defaults. */
export function resolveRollout(written: WrittenRollout): RolloutSettings {
  return {
    strategy: {
      parallel: written.parallel ?? { hosts: 1 },
      pause: written.pause ?? 0,
      canary: written.canary ?? { hosts: 0 },
      watch: written.watch ?? 60_000,
      maxErrorRate: written['max-error-rate'] ?? 5,
      onFailure: written['on-failure'] ?? 'restore',
    },
    commands: {
      before: listOf(written.before),
      after: listOf(written.after),
      timeout: written.timeout ?? 15 * 60_000,
    },
  }
}

/** An empty list takes back what is set for all environments. */
const listOf = (command: readonly string[] | undefined) =>
  command && command.length > 0 ? [...command] : undefined
