import { StepError, toStepError } from '../../../core/errors.ts'
import { wait } from '../../../core/retry.ts'
import type { CommandResult, ContainerInfo, Host } from '../host.ts'
import { type HealthSettings, healthPort } from './check.ts'
import { askHttp, askTcp, type ProbeLimits } from './probe.ts'

export interface Attempt extends ProbeLimits {
  /** Milliseconds since the container was started. */
  elapsed: number
}

/** One check of a running container: what is wrong, or undefined when all is well. */
export type Ask = (container: ContainerInfo, attempt: Attempt) => Promise<string | undefined>

export function openCheck(host: Host, health: HealthSettings): Ask {
  if ('running' in health) {
    const { running } = health
    return async (_, { elapsed }) =>
      elapsed < running ? `it has not run for ${running / 1000} s` : undefined
  }
  if ('docker' in health) return async ({ health: state }) => problemOf(state)
  if ('command' in health) return commandCheck(host, health.command)
  return async (container, attempt) => {
    const address = addressOf(host, container, healthPort(health) ?? 0)
    return 'http' in health ? askHttp(address, health.http, attempt) : askTcp(address, attempt)
  }
}

function problemOf(state: ContainerInfo['health']): string | undefined {
  if (state?.status === 'healthy') return undefined
  return [state?.status ?? 'its HEALTHCHECK has not run', lastLine(state?.output)].join(': ')
}

/** A command that still runs is not started again: an engine cannot end it. */
function commandCheck(host: Host, command: readonly string[]): Ask {
  let pending: Promise<CommandResult | StepError> | undefined
  return async ({ id }, { request, signal }) => {
    pending ??= host.runCommand(id, command).catch(toStepError)
    const stop = new AbortController()
    const signals = signal ? AbortSignal.any([stop.signal, signal]) : stop.signal
    const late = wait(request, signals).catch(() => {})
    const result = await Promise.race([pending, late])
    stop.abort()
    if (!result) return `no result within ${request / 1000} s`
    pending = undefined
    if (result instanceof StepError) return result.message
    if (result.exitCode === 0) return undefined
    return [`exit code ${result.exitCode}`, lastLine(result.output)].filter(Boolean).join(': ')
  }
}

const lastLine = (text = '') => text.trim().split('\n').at(-1)?.trim().slice(0, 200) ?? ''

function addressOf(host: Host, container: ContainerInfo, port: number): string {
  const address = container.address(port)
  if (address !== undefined) return address
  throw new StepError(
    'INPUT_INVALID',
    `host ${host.name}: port ${port} of ${container.name} cannot be reached from here`,
    { hint: `Publish it (container.ports: ["${port}:${port}"]), or use network: host.` },
  )
}
