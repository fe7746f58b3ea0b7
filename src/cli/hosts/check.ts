import type { Context } from '../../delivery/context.ts'
import { findLeftOut, type LeftOut } from '../../delivery/verification/left-out.ts'
import { failureOf, type HostResponse, isFailure, isSuccess } from '../../targets/responses.ts'
import type { HostCheck } from '../../targets/target.ts'
import type { CommandResult } from '../command.ts'
import type { Opened } from '../instances/open.ts'
import { formatBytes, table } from '../output.ts'

export async function listHosts({ environment, target }: Opened): Promise<CommandResult> {
  const responses = await target.ping()
  const rows = responses.map((response) => {
    const { host } = response
    const address = environment.hosts.find(({ name }) => name === host)?.address.text ?? ''
    const fault = isFailure(response) ? response.error.message : undefined
    return { host, address, answers: fault === undefined, fault }
  })
  const failure = failureOf(responses)
  return {
    json: { hosts: rows },
    text: table(
      ['host', 'address', 'answers'],
      rows.map(({ host, address, fault }) => [host, address, fault ?? 'yes']),
    ),
    ...(failure && { failure }),
  }
}

/** A warning is no failure; a host that does not respond is. */
export async function checkHosts(opened: Opened, context: Context): Promise<CommandResult> {
  const [responses, left] = await Promise.all([opened.target.check(), findLeftOut(opened, context)])
  const failure = failureOf(responses)
  const answered = responses.filter(isSuccess)
  const warningsOf = (response: HostResponse<HostCheck>) => [
    ...left.hosts.filter(({ host }) => host === response.host).map(withoutHost),
    ...(isFailure(response) ? [] : response.value.warnings),
  ]
  const warnings = responses.flatMap((response) =>
    warningsOf(response).flatMap(({ text, hint }) => [`${response.host}: ${text}`, `  → ${hint}`]),
  )
  const headings = ['host', 'engine', 'API', 'storage', 'disk free', 'clock', 'live restore']
  return {
    json: {
      hosts: responses.map((response) =>
        isFailure(response)
          ? {
              ...{ host: response.host, answers: false, fault: response.error.message },
              warnings: warningsOf(response),
            }
          : {
              ...{ host: response.host, answers: true, ...response.value },
              warnings: warningsOf(response),
            },
      ),
      unknown: left.unknown,
    },
    text: [
      table(
        headings,
        answered.map(({ host, value: { facts } }) => [host, ...cells(facts)]),
      ),
      ...(warnings.length === 0 ? [] : ['', ...warnings]),
      ...(left.unknown.length === 0 ? [] : ['', ...left.unknown]),
    ].join('\n'),
    ...(failure && { failure }),
  }
}

const withoutHost = ({ text, hint }: LeftOut) => ({ text, hint })

function cells({
  engine,
  apiVersion,
  storage = 'unknown',
  disk,
  clockAhead,
  liveRestore,
}: HostCheck['facts']): string[] {
  const room = disk && `${formatBytes(disk.free)} of ${formatBytes(disk.total)}`
  const restore = liveRestore === undefined ? 'unknown' : liveRestore ? 'on' : 'off'
  return [engine, apiVersion, storage, room ?? 'unknown', clockText(clockAhead), restore]
}

function clockText(ahead: number | undefined): string {
  if (ahead === undefined) return 'unknown'
  if (Math.abs(ahead) < 1000) return 'the same'
  return `${(Math.abs(ahead) / 1000).toFixed(1)} s ${ahead > 0 ? 'ahead' : 'behind'}`
}
