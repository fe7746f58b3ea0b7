import { isIP } from 'node:net'
import { StepError } from '../../core/errors.ts'
import type { ProxyServer, ServerState } from '../../targets/proxy.ts'
import { type Change, type Driver, serverName } from '../driver.ts'
import { rename, writeText } from '../machine/files.ts'
import type { Machine } from '../machine/machine.ts'
import type { HaproxySettings } from '../settings.ts'
import { openRuntime, type Runtime } from './runtime.ts'
import { parseServers, parseStat, responsesOf, type ServerRow, sessionsOf } from './tables.ts'

export interface HaproxyOptions {
  settings: HaproxySettings
  /** The backend's name where the settings have none. */
  backend: string
  servers: readonly ProxyServer[]
  /** Where the state file is written; only asked when the settings name one. */
  machine: () => Promise<Machine>
  /** The environment whose servers they are, for what hints name. */
  environment?: string | undefined
  /** A file for `ssh -F`. */
  sshConfig?: string | undefined
}

interface Haproxy extends HaproxyOptions {
  name: string
  runtime: Runtime
}

/** A share in percent is a whole weight from here on; a lower one would round to nothing. */
const LEAST_WEIGHT = 50

/** HAProxy, by its runtime API: servers are found by their names in the backend. */
export function createHaproxyDriver(options: HaproxyOptions): Driver {
  const { settings, servers } = options
  const { socket } = settings
  const name = `HAProxy on ${socket.kind === 'unix' ? 'this machine' : socket.host}`
  const haproxy: Haproxy = {
    ...options,
    backend: settings.backend ?? options.backend,
    name,
    runtime: openRuntime(name, socket, options.sshConfig),
  }
  let permitted: Promise<void> | undefined
  return {
    name,
    isWeighted: true,
    tellsOut: true,
    checks: true,
    async read() {
      permitted ??= requireAdmin(haproxy)
      await permitted
      const rows = await readRows(haproxy)
      return servers.map((server) => stateOf(server, rowOf(haproxy, rows, server)))
    },
    change: (changes) => change(haproxy, changes),
    async pending(server) {
      const row = await readStat(haproxy, server)
      return row && sessionsOf(row)
    },
    async responses(server) {
      const row = await readStat(haproxy, server)
      return row && responsesOf(row)
    },
    async close() {
      await haproxy.runtime.close()
      if (settings['state-file'] !== undefined) await (await haproxy.machine()).close()
    },
  }
}

async function requireAdmin({ runtime, name }: Haproxy): Promise<void> {
  const level = (await runtime.ask('show cli level')).trim()
  if (level === 'admin') return
  throw new StepError(
    'FORBIDDEN',
    `${name}: the socket has the level ${level}, and admin is needed`,
    {
      hint: 'Write `level admin` on its `stats socket` line, and reload HAProxy.',
    },
  )
}

async function readRows({
  runtime,
  backend,
  name,
  environment = '…',
}: Haproxy): Promise<ServerRow[]> {
  const response = await runtime.ask(`show servers state ${backend}`)
  const rows = parseServers(response)
  if (rows) return rows
  throw new StepError('NOT_FOUND', `${name}: backend ${backend}: ${response.trim()}`, {
    hint: `Add the backend that \`crosscloud hosts proxy-config --env ${environment} --kind haproxy\` prints, or name yours in \`proxy.haproxy.backend\`.`,
  })
}

/** 4: servers, -1: all of them. */
async function readStat({ runtime, backend }: Haproxy, server: ProxyServer) {
  const csv = await runtime.ask(`show stat ${backend} 4 -1`)
  return parseStat(csv, backend, serverName(server))
}

function rowOf({ name, backend }: Haproxy, rows: readonly ServerRow[], server: ProxyServer) {
  const wanted = serverName(server)
  const row = rows.find((each) => each.name === wanted)
  if (row === undefined) {
    throw new StepError('NOT_FOUND', `${name}: backend ${backend} has no server ${wanted}`, {
      hint: `Add it: server ${wanted} ${server.address}:${server.port} check weight 100`,
    })
  }
  const isElsewhere = isIP(server.address) !== 0 && row.address !== server.address
  if (row.port === server.port && !isElsewhere) return row
  throw new StepError(
    'CONFLICT',
    `${name}: server ${wanted} of backend ${backend} is at ${row.address}:${row.port}, not at ${server.address}:${server.port}`,
    { hint: 'Correct its line in the configuration of HAProxy, or the ports of the environment.' },
  )
}

function stateOf(server: ProxyServer, row: ServerRow): ServerState {
  const { mode, isChecked, isUp, weight, configuredWeight } = row
  const share = configuredWeight > 0 ? Math.round((100 * weight) / configuredWeight) : undefined
  return { server, mode, up: isChecked ? isUp : undefined, weight: share }
}

async function change(haproxy: Haproxy, changes: readonly Change[]): Promise<void> {
  if (changes.length === 0) return
  const rows = await readRows(haproxy)
  const planned = changes.map((each) =>
    commandsOf(haproxy, each, rowOf(haproxy, rows, each.server)),
  )
  for (const commands of planned.filter(({ length }) => length > 0)) {
    const response = await haproxy.runtime.ask(commands.join('; '))
    // Each of these commands succeeds with an empty line; an error is a sentence.
    if (response.trim() !== '') throw refused(haproxy, commands, response.trim())
  }
  await keepState(haproxy)
}

function commandsOf(haproxy: Haproxy, { server, mode, weight }: Change, row: ServerRow): string[] {
  const target = `${haproxy.backend}/${serverName(server)}`
  const set = (what: string) => `set server ${target} ${what}`
  const commands: string[] = []
  if (weight !== undefined) commands.push(set(`weight ${weightOf(haproxy, row, weight)}`))
  if (mode === undefined || mode === row.mode) return commands
  if (mode === 'draining') return [...commands, set('state drain')]
  if (mode === 'out') return [...commands, set('state maint')]
  // What leaves maintenance counts as up until a check fails; down, it must pass its checks first.
  const unproven = row.mode === 'out' && row.isChecked
  if (unproven) commands.push(set('state drain'), set('health down'))
  return [...commands, set('state ready')]
}

function weightOf({ name, backend }: Haproxy, row: ServerRow, percent: number): number {
  const { configuredWeight } = row
  if (percent === 100) return configuredWeight
  if (configuredWeight >= LEAST_WEIGHT) {
    return Math.max(1, Math.round((configuredWeight * percent) / 100))
  }
  throw new StepError(
    'INPUT_INVALID',
    `${name}: server ${row.name} of backend ${backend} has the weight ${configuredWeight}, of which there is no share of ${percent} %`,
    { hint: 'Write `weight 100` on each of its server lines.' },
  )
}

function refused({ name }: Haproxy, commands: readonly string[], response: string): StepError {
  return new StepError('COMMAND_FAILED', `${name}: ${commands.join('; ')}: ${response}`, {
    hint: 'See `show servers state` of this HAProxy; the command can be run again.',
  })
}

/** A reload reads it; without it every server would be as the configuration has it. */
async function keepState({ settings, runtime, machine }: Haproxy): Promise<void> {
  const path = settings['state-file']
  if (path === undefined) return
  const states = await runtime.ask('show servers state')
  const there = await machine()
  await writeText(there, `${path}.next`, states)
  await rename(there, `${path}.next`, path)
}
