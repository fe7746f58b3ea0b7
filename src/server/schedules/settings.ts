import { CronExpressionParser } from 'cron-parser'
import { z } from 'zod'
import { duration, objectName } from '../../core/settings/schema.ts'
import { isZone } from '../../gate/calendar.ts'
import { commandVariables } from '../effects/worker-environment.ts'

/** Scheduled commands, as command lines of crosscloud. */
export const commands = {
  drift: {
    args: ['status', '--check'],
    only: (env: string) => ['--env', env],
  },
  'config-lint': { args: ['config', 'lint'], only: (env: string) => [env] },
  retention: { args: ['retention', '--yes'], only: (env: string) => ['--env', env] },
  prune: { args: ['hosts', 'prune', '--yes'], only: (env: string) => ['--env', env] },
} as const

/** One of `schedules:` in crosscloud.server.yml. */
export const scheduleSettings = z
  .strictObject({
    name: objectName.describe('Its name, in logs and metrics'),
    cron: z
      .string()
      .refine(isCron, 'is not a cron line; write minute hour day month weekday: 0 6 * * mon-fri')
      .describe('When: minute hour day month weekday'),
    zone: z
      .string()
      .refine(isZone, 'is not a time zone; write Europe/Berlin, Asia/Shanghai or UTC')
      .default('UTC')
      .describe('IANA time zone of the cron line'),
    run: z
      .enum(Object.keys(commands) as (keyof typeof commands)[])
      .describe(
        'whether the hosts run what the ledger says; what is wrong in the config; `crosscloud retention`; `crosscloud hosts prune`',
      ),
    env: objectName.optional().describe('Only this environment'),
    folder: z.string().min(1).describe('Folder with crosscloud.yml'),
    variables: commandVariables,
    notify: z.array(objectName).default([]).describe('Who is notified when something is found'),
    timeout: duration.prefault('30m').describe('How long it may run'),
  })
  .check(({ value: { run, env }, issues }) => {
    if (run !== 'prune' || env !== undefined) return
    const message = 'is required: hosts are those of one environment'
    issues.push({ code: 'custom', input: env, path: ['env'], message })
  })

export type ScheduleSettings = z.output<typeof scheduleSettings>

function isCron(text: string): boolean {
  try {
    CronExpressionParser.parse(text)
    // The parser reads H, which Jenkins replaces by a hash of the job, as something else.
    return text.trim().split(/\s+/).length === 5 && !/(?:^|[\s,])H/.test(text)
  } catch {
    return false
  }
}
