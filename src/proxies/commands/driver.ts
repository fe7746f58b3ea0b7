import { explain, StepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { type RunOptions, run } from '../../core/process/process.ts'
import type { ProxyServer, ServerState } from '../../targets/proxy.ts'
import { type Change, type Driver, serverName } from '../driver.ts'
import { exitedWith } from '../machine/files.ts'
import { type CommandsSettings, fillIn } from './settings.ts'

export interface CommandsOptions {
  settings: CommandsSettings
  servers: readonly ProxyServer[]
  /** The folder that the commands run in. */
  folder: string
  /** Gets what they print. */
  log: Log
  /** The environment of the commands; default: this process's. */
  programs?: Pick<RunOptions, 'env' | 'cleanEnv'> | undefined
}

type Verb = 'take-out' | 'put-in' | 'check' | 'drained' | 'weight'

/** Anything with a command line: each verb is a program of the user's, and its exit code decides. */
export function createCommandsDriver({
  settings,
  servers,
  folder,
  log,
  programs,
}: CommandsOptions): Driver {
  const name = 'proxy by commands'
  const isWeighted = settings.weight !== undefined
  /** There is no command that tells them: shares in percent that were given since this was opened. */
  const weights = new Map<string, number>()
  /** `check` says no of a server that is down, too: it is taken out all the same, once. */
  const taken = new Set<string>()

  async function execute(verb: Verb, server: ProxyServer, weight: number, output?: Log) {
    const given = settings[verb]
    if (given === undefined) return
    const { host, slot, address, port } = server
    const values = {
      host,
      slot: slot === undefined ? '' : String(slot),
      name: serverName(server),
      address,
      port: String(port),
      weight: String(weight),
    }
    const [program = '', ...args] = given.map((argument) => fillIn(argument, values))
    try {
      const { timeout } = settings
      await run(program, args, { cwd: folder, timeout, log: output, ...programs })
    } catch (error) {
      throw explain(`${name}: ${verb} of ${serverName(server)}`, error)
    }
  }

  /** 0 is yes, 1 no; anything else is an error, with what was printed. */
  async function asks(verb: 'check' | 'drained', server: ProxyServer): Promise<boolean> {
    try {
      await execute(verb, server, 100)
      return true
    } catch (error) {
      if (exitedWith(error, 1)) return false
      throw error
    }
  }

  async function change({ server, mode, weight }: Change): Promise<void> {
    if (weight !== undefined) {
      await execute('weight', server, weight, log)
      weights.set(serverName(server), weight)
    }
    if (mode === 'in') {
      taken.delete(serverName(server))
      await execute('put-in', server, weight ?? 100, log)
    } else if (mode !== undefined && !taken.has(serverName(server))) {
      await execute('take-out', server, weight ?? 100, log)
      taken.add(serverName(server))
    }
  }

  return {
    name,
    isWeighted,
    tellsOut: false,
    checks: true,
    async read() {
      const states: ServerState[] = []
      for (const server of servers) {
        const isIn = await asks('check', server)
        const weight = isWeighted ? (weights.get(serverName(server)) ?? 100) : undefined
        states.push({ server, mode: isIn ? 'in' : 'out', up: isIn, weight })
      }
      return states
    },
    async change(changes) {
      for (const each of changes) await change(each)
      const out = changes.filter(({ mode }) => mode === 'draining')
      for (const { server } of out) {
        if (await asks('check', server)) throw stillIn(name, server)
      }
    },
    // What a canary that was cut off has left cannot be asked for.
    async repair() {
      if (isWeighted) for (const server of servers) await change({ server, weight: 100 })
      return undefined
    },
    async pending(server) {
      if (settings.drained === undefined) return undefined
      return (await asks('drained', server)) ? 0 : 1
    },
    async close() {},
  }
}

function stillIn(name: string, server: ProxyServer): StepError {
  return new StepError(
    'COMMAND_FAILED',
    `${name}: take-out of ${serverName(server)} ended well, but check says that it gets requests`,
    { hint: 'See what proxy.commands.check asks, and whether take-out waits until it is done.' },
  )
}
