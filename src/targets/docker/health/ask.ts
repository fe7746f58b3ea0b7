import { StepError, toStepError } from '../../../core/errors.ts'
import { withoutControls } from '../../../core/plain-text.ts'
import { wait } from '../../../core/retry.ts'
import type { ContainerInfo, Host } from '../host.ts'
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
  if ('docker' in health) return async ({ health: state }) => problemOf(state, host)
  if ('command' in health) return commandCheck(host, health.command)
  return async (container, attempt) => {
    const address = addressOf(host, container, healthPort(health) ?? 0)
    return 'http' in health ? askHttp(address, health.http, attempt) : askTcp(address, attempt)
  }
}

function problemOf(state: ContainerInfo['health'], host: Host): string | undefined {
  if (state?.status === 'healthy') return undefined
  const said = [state?.status ?? 'it has not run', lastLine(state?.output, host)]
  return said.filter(Boolean).join(': ')
}

interface Ended {
  exitCode: number
  output: string
}

/** A command that still runs is not started again: an engine cannot end it. */
function commandCheck(host: Host, command: readonly string[]): Ask {
  let pending: Promise<Ended | StepError> | undefined
  return async ({ id }, { request, signal }) => {
    pending ??= runCommand(host, id, command).catch(toStepError)
    const stop = new AbortController()
    const signals = signal ? AbortSignal.any([stop.signal, signal]) : stop.signal
    const late = wait(request, signals).catch(() => {})
    const result = await Promise.race([pending, late])
    stop.abort()
    if (!result) return `no result within ${request / 1000} s`
    pending = undefined
    if (result instanceof StepError) return result.message
    if (result.exitCode === 0) return undefined
    return [`exit code ${result.exitCode}`, result.output].filter(Boolean).join(': ')
  }
}

/** Until it ends, or until its host is closed. */
async function runCommand(host: Host, id: string, command: readonly string[]): Promise<Ended> {
  let output = ''
  const onLine = (line: string) => {
    output = lastLine(line, host) || output
  }
  const { signal } = new AbortController()
  return { exitCode: await host.exec(id, command, { onLine, signal }), output }
}

const MOST_LENGTH = 200

/** Masked before it is cut: of half a secret nobody knows that it is one. */
function lastLine(text = '', { mask }: Pick<Host, 'mask'>): string {
  const line = text.trimEnd().slice(text.trimEnd().lastIndexOf('\n') + 1)
  return mask(withoutControls(line)).trim().slice(0, MOST_LENGTH)
}

function addressOf(host: Host, container: ContainerInfo, port: number): string {
  const address = container.address(port)
  if (address !== undefined) return address
  throw new StepError(
    'INPUT_INVALID',
    `host ${host.name}: port ${port} of ${container.name} cannot be reached from here`,
    { hint: `Publish it (container.ports: ["${port}:${port}"]), or use network: host.` },
  )
}
