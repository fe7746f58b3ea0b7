import { toStepError } from '../../core/errors.ts'
import { joinErrors } from '../../core/settle-all.ts'
import type { Instance, InstanceStats } from '../../targets/target.ts'
import type { CommandResult } from '../command.ts'
import { formatBytes, table } from '../output.ts'
import { current, describeInstance, type Opened } from './open.ts'

export async function showStats(opened: Opened): Promise<CommandResult> {
  const { found, failure: silent } = await current(opened)
  const running = found.filter((instance) => instance.running)
  const read = await Promise.allSettled(running.map((each) => opened.target.stats(each)))
  const rows = running.flatMap((instance, at) => {
    const result = read[at]
    return result?.status === 'fulfilled' ? [{ instance, stats: result.value }] : []
  })
  const errors = read.flatMap((result) =>
    result.status === 'rejected' ? [toStepError(result.reason)] : [],
  )
  const failure = joinErrors([...(silent ? [silent] : []), ...errors])
  const stopped = found.filter((instance) => !instance.running)
  return {
    json: { instances: [...rows.map(toJson), ...stopped.map(describeInstance)] },
    text: table(
      ['host', 'instance', 'cpu', 'memory', 'processes', 'restarts', 'up for'],
      [
        ...rows.map(({ instance, stats }) => cells(instance, stats)),
        ...stopped.map(({ host, name }) => [host, name, 'stopped']),
      ],
    ),
    ...(failure && { failure }),
  }
}

function toJson({ instance, stats }: { instance: Instance; stats: InstanceStats }) {
  const { memory = null, memoryLimit = null, processes = null, cpu, startedAt } = stats
  const { restarts } = instance
  const used = { cpu, memory, memoryLimit, processes }
  return { ...describeInstance(instance), ...used, restarts, startedAt }
}

function cells({ host, name, restarts }: Instance, stats: InstanceStats): string[] {
  const { cpu, memory, memoryLimit, processes, startedAt } = stats
  const limit = memoryLimit === undefined ? '' : ` of ${formatBytes(memoryLimit)}`
  return [
    host,
    name,
    `${cpu.toFixed(1)} %`,
    memory === undefined ? 'unknown' : `${formatBytes(memory)}${limit}`,
    `${processes ?? 'unknown'}`,
    `${restarts}`,
    formatTime(Date.now() - Date.parse(startedAt)),
  ]
}

/** `3 d 4 h`, `12 m 5 s` */
function formatTime(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000))
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const
  const first = parts.findIndex(([count]) => count > 0)
  const shown = first < 0 ? parts.slice(-1) : parts.slice(first, first + 2)
  return shown.map(([count, unit]) => `${count} ${unit}`).join(' ')
}
