import type { InstanceStats } from '../../target.ts'
import type { Operating } from './operating.ts'

/** The parts of an engine's "container statistics" response that are used; old kernels lack some. */
interface EngineStats {
  cpu_stats?: CpuStats
  precpu_stats?: CpuStats
  memory_stats?: { usage?: number; limit?: number; stats?: Record<string, number> }
  pids_stats?: { current?: number }
}

interface CpuStats {
  cpu_usage?: { total_usage?: number; percpu_usage?: number[] }
  system_cpu_usage?: number
  online_cpus?: number
}

/** The engine looks twice, a second apart. */
export async function readStats({ docker, call }: Operating, id: string): Promise<InstanceStats> {
  const container = docker.getContainer(id)
  const doing = `reading the statistics of ${id.slice(0, 12)}`
  const [stats, { State }] = await Promise.all([
    call(doing, (abortSignal) =>
      container.stats({ stream: false as const, abortSignal } as { stream: false }),
    ),
    call(doing, (abortSignal) => container.inspect({ abortSignal })),
  ])
  const { memory_stats: memory = {}, pids_stats: processes = {} } = stats as EngineStats
  const { usage, limit, stats: parts = {} } = memory
  // cgroups v2 and v1; docker's own client takes the same away.
  const cache = parts.inactive_file ?? parts.total_inactive_file ?? 0
  return {
    cpu: cpuPercent(stats as EngineStats),
    memory: usage === undefined ? undefined : usage - cache,
    memoryLimit: limit || undefined,
    processes: processes.current,
    startedAt: State.StartedAt,
  }
}

function cpuPercent({ cpu_stats: now = {}, precpu_stats: before = {} }: EngineStats): number {
  const used = (now.cpu_usage?.total_usage ?? 0) - (before.cpu_usage?.total_usage ?? 0)
  const passed = (now.system_cpu_usage ?? 0) - (before.system_cpu_usage ?? 0)
  if (used <= 0 || passed <= 0) return 0
  const processors = now.online_cpus || now.cpu_usage?.percpu_usage?.length || 1
  return Math.round((used / passed) * processors * 1000) / 10
}
