import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { run } from '../../../src/core/process/process.ts'
import { type Running, startCli } from '../cli.ts'
import { freePort } from './ports.ts'
import { type RunningServer, serverFolder, startServer } from './server.ts'

/** A Redis that keeps its data when it is restarted. */
export interface QueueRedis {
  url: string
  stop(signal?: NodeJS.Signals): Promise<void>
  start(): Promise<void>
  cli(...args: string[]): Promise<string>
}

export async function startQueueRedis(t: Pick<Test, 'teardown'>): Promise<QueueRedis> {
  const { folder, remove } = await serverFolder('queue')
  const port = await freePort()
  const cli = async (...args: string[]) =>
    (await run('redis-cli', ['-p', `${port}`, ...args])).stdout
  const flags = ['--bind', '127.0.0.1', '--port', `${port}`, '--dir', folder, '--save', '']
  let server: RunningServer
  const start = async () => {
    server = await startServer(
      'redis-server',
      [...flags, '--appendonly', 'yes', '--appendfsync', 'everysec'],
      {
        ready: async () => {
          if ((await cli('ping')) !== 'PONG') throw new Error('no response')
        },
      },
    )
  }
  await start()
  t.teardown(async () => {
    await server.stop('SIGKILL')
    await remove()
  })
  return { url: `redis://127.0.0.1:${port}/0`, start, cli, stop: (signal) => server.stop(signal) }
}

/** As if the server had asked for the pushes of a project, `gitlab team/webapi`, for an hour. */
export const knownForAnHour = ({ cli }: QueueRedis, what: string): Promise<string> =>
  cli('hset', '{crosscloud:crosscloud}:pushed', what, String(Date.now() - 3_600_000))

export interface WebhookServer {
  port: number
  /** Where its settings are. */
  folder: string
  running: Running
  kill(signal: NodeJS.Signals): Promise<void>
  start(): Promise<void>
}

/** `crosscloud serve` as a process of its own, on a port that it keeps. */
export async function startWebhookServer(
  t: Pick<Test, 'teardown'>,
  settings: Record<string, unknown>,
  options: {
    args?: string[]
    env?: Record<string, string>
    /** The program's file; default: the one that `npm run build` made. */
    program?: string
    beforeStart?: (port: number) => void
  } = {},
): Promise<WebhookServer> {
  const { folder, remove } = await serverFolder('serve')
  const port = await freePort()
  const listen = { host: '127.0.0.1', port, rate: 100_000 }
  const file = join(folder, 'crosscloud.server.yml')
  await writeFile(file, stringify({ listen, ...settings }))
  const start = async () => {
    const running = startCli(['serve', ...(options.args ?? [])], {
      cwd: folder,
      env: { ...options.env },
      ...(options.program !== undefined && { program: options.program }),
    })
    server.running = running
    await running.until('listening on')
  }
  const kill = async (signal: NodeJS.Signals) => {
    server.running.child.kill(signal)
    await server.running.finished
  }
  const server = { port, folder, start, kill } as WebhookServer
  options.beforeStart?.(port)
  await start()
  t.teardown(async () => {
    await kill('SIGKILL')
    await remove()
  })
  return server
}

/** Senders keep their connections. */
const agent = new Agent({ keepAlive: true })

export interface DeliveryResponse {
  status: number
  body: Record<string, unknown>
}

/** One delivery, as its sender would make it; a connection that breaks is a rejection. */
export async function deliver(
  port: number,
  path: string,
  headers: Record<string, string>,
  body: string | Buffer,
): Promise<DeliveryResponse> {
  const sent = request({
    host: '127.0.0.1',
    port,
    path,
    method: 'POST',
    agent,
    headers: { 'content-type': 'application/json', ...headers },
    signal: AbortSignal.timeout(20_000),
  })
  sent.end(body)
  const [response] = await once(sent, 'response')
  return { status: response.statusCode, body: JSON.parse((await text(response)) || '{}') }
}
