import type { Cluster, Redis } from 'ioredis'
import { cancelled } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { wait } from '../core/retry.ts'
import type { RedisAddress } from './address.ts'
import {
  CONNECT_TIMEOUT,
  createCluster,
  createRedis,
  type RedisAccess,
  type RedisBehaviour,
} from './client.ts'
import { redisError } from './errors.ts'

/** A connection that is made when it is first needed, and made again after it broke. */
export interface RedisConnection<Client> {
  /** Runs work on an open connection; errors carry the server's name. */
  use<T>(work: (client: Client) => Promise<T>): Promise<T>
  close(): void
}

export interface ConnectOptions extends RedisAccess {
  signal?: AbortSignal | undefined
  /** Told what is waited for, and how long at most. */
  log?: Pick<Log, 'info'> | undefined
  /** Milliseconds of waiting before it is told; default: 5 s. */
  tellAfter?: number | undefined
}

const TELL_AFTER = 5000
const COMMAND_TIMEOUT = 30_000
/** Between tries to connect, in milliseconds. Sentinels need seconds to name a new master. */
const PAUSES = { short: [200, 500, 1000], long: [200, 500, 1000, 2000, 2000, 3000, 3000, 3000] }

/** A command is never sent again by itself: a WATCH would not have seen what happened between. */
const ONCE = {
  // CLIENT SETINFO would be one more round trip, and a right more.
  disableClientInfo: true,
  commandTimeout: COMMAND_TIMEOUT,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
} satisfies RedisBehaviour

export async function connectRedis(
  address: RedisAddress,
  { signal, log, tellAfter, ...access }: ConnectOptions,
): Promise<RedisConnection<Redis>> {
  const client = await createRedis(address, access, {
    ...ONCE,
    lazyConnect: true,
    retryStrategy: () => null,
    ...(address.kind === 'sentinel' && { sentinelRetryStrategy: () => null }),
  })
  const pauses = address.kind === 'sentinel' ? PAUSES.long : PAUSES.short
  return openWhenUsed(client, address, pauses, { signal, log, tellAfter })
}

export async function connectCluster(
  address: RedisAddress,
  { signal, log, tellAfter, ...access }: ConnectOptions,
): Promise<RedisConnection<Cluster>> {
  const client = await createCluster(address, access, ONCE, {
    lazyConnect: true,
    clusterRetryStrategy: () => null,
    slotsRefreshTimeout: CONNECT_TIMEOUT,
    retryDelayOnClusterDown: 200,
    maxRedirections: 8,
  })
  return openWhenUsed(client, address, PAUSES.short, { signal, log, tellAfter })
}

/** Milliseconds after which the last try to connect has ended: each server is asked once in a try. */
function longestConnect({ kind, nodes }: RedisAddress, pauses: readonly number[]): number {
  const servers = { single: 1, unix: 1, sentinel: nodes.length + 1, cluster: nodes.length }[kind]
  const tries = (pauses.length + 1) * servers * (CONNECT_TIMEOUT + COMMAND_TIMEOUT)
  return pauses.reduce((sum, pause) => sum + pause, tries)
}

function openWhenUsed<Client extends Redis | Cluster>(
  client: Client,
  address: RedisAddress,
  pauses: readonly number[],
  { signal, log, tellAfter = TELL_AFTER }: Pick<ConnectOptions, 'signal' | 'log' | 'tellAfter'>,
): RedisConnection<Client> {
  const { name } = address
  const told = async <T>(most: string, work: () => Promise<T>): Promise<T> => {
    const tell = () => log?.info(`${name} has not answered yet; waiting for it, ${most}`)
    const timer = setTimeout(tell, tellAfter)
    try {
      return await work()
    } finally {
      clearTimeout(timer)
    }
  }
  const [connecting, command] = [longestConnect(address, pauses), COMMAND_TIMEOUT].map(
    (most) => `${Math.ceil(most / 1000)} s at most`,
  )
  let earlier: unknown
  // Without a listener ioredis writes to the console by itself.
  client.on('error', (error: unknown) => {
    earlier = error
  })
  const stop = () => client.disconnect()
  signal?.addEventListener('abort', stop, { once: true })
  const translate = (error: unknown) =>
    signal?.aborted ? cancelled(signal) : redisError(name, error, earlier)

  const connect = async (): Promise<void> => {
    for (let attempt = 0; client.status !== 'ready'; attempt++) {
      if (signal?.aborted) throw cancelled(signal)
      try {
        await client.connect()
      } catch (thrown) {
        const error = translate(thrown)
        const pause = pauses[attempt]
        if (!error.retryable || pause === undefined) throw error
        await wait(pause, signal)
      }
    }
  }
  return {
    async use(work) {
      await told(`${connecting}`, connect)
      try {
        return await told(`${command} for each command`, () => work(client))
      } catch (error) {
        throw translate(error)
      }
    },
    close() {
      signal?.removeEventListener('abort', stop)
      client.disconnect()
    },
  }
}
