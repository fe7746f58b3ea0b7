import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { haproxySnippets, nginxSnippets, type Snippet } from '../../src/proxies/snippets.ts'
import type { ProxyServer } from '../../src/targets/proxy.ts'
import { freePort, reach } from '../../test/support/servers/ports.ts'
import { findProgram, serverFolder, startServer } from '../../test/support/servers/server.ts'
import type { Endpoint } from './load.ts'

export interface BenchProxy extends Endpoint {
  /** `proxy:` of the environment; undefined: nobody tells it anything. */
  settings?: object
  stop(): Promise<void>
}

export const proxies = {
  nginx: startNginx,
  haproxy: startHaproxy,
  'nginx-driver': startDrivenNginx,
  'haproxy-driver': startDrivenHaproxy,
} as const
export type ProxyName = keyof typeof proxies

interface Start {
  program: string
  configuration(folder: string): string[] | Promise<string[]>
  args(folder: string, file: string): string[]
  ready(): Promise<unknown>
}

const CONFIGURATION = 'proxy.conf'

/** Starts a proxy in a folder of its own. @returns how to stop it */
export async function startProxy({ program, configuration, args, ready }: Start) {
  const { folder, remove } = await serverFolder('bench-proxy')
  const file = join(folder, CONFIGURATION)
  const lines = await configuration(folder)
  await writeFile(file, `${lines.join('\n')}\n`)
  try {
    const started = await startServer(program, args(folder, file), { ready })
    return async () => {
      await started.stop()
      await remove()
    }
  } catch (error) {
    await remove()
    throw error
  }
}

/** nginx as one process of an ordinary user of the bench, with what is special in `http { }`. */
export function nginxConfiguration(folder: string, http: readonly string[]): string[] {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return [
    ...['user root;', 'worker_processes 1;', 'daemon off;', `pid ${join(folder, 'pid')};`],
    'events { worker_connections 4096; }',
    'http {',
    'access_log off;',
    ...temporary.map((name) => `${name}_temp_path ${join(folder, name)};`),
    ...http,
    '}',
  ]
}

export const nginxArgs = (folder: string, file: string) => [
  ...['-c', file, '-p', folder, '-e', 'stderr'],
]

const NAME = 'orders-slots'

/** What operators paste, and nothing else. */
const textOf = (snippets: readonly Snippet[], place: string) =>
  snippets.filter((snippet) => snippet.place === place).map(({ text }) => text)

async function startNginx(servers: readonly ProxyServer[]): Promise<BenchProxy> {
  const port = await freePort()
  const snippets = nginxSnippets({ name: NAME, servers })
  const http = nginxHttp(port, snippets)
  const stop = await startProxy({
    program: 'nginx',
    configuration: (folder) => nginxConfiguration(folder, http),
    args: nginxArgs,
    ready: () => reach(port),
  })
  return { host: '127.0.0.1', port, stop }
}

const nginxHttp = (port: number, snippets: readonly Snippet[]) => [
  ...textOf(snippets, 'in http { }'),
  `server { listen 127.0.0.1:${port} backlog=4096;`,
  ...textOf(snippets, 'in server { }'),
  '}',
]

/** With a folder of the driver's own, which it writes and reloads. */
async function startDrivenNginx(servers: readonly ProxyServer[]): Promise<BenchProxy> {
  const port = await freePort()
  let settings: object | undefined
  const stop = await startProxy({
    program: 'nginx',
    async configuration(folder) {
      const own = join(folder, 'crosscloud')
      const sessions = 'cookie'
      const snippets = nginxSnippets({ name: NAME, servers, folder: own, sessions })
      await mkdir(own)
      const file = `${own}/${NAME}.conf`
      await writeFile(file, textOf(snippets, file).join('\n'))
      settings = {
        folder: own,
        status: `http://127.0.0.1:${port}/.crosscloud/${NAME}`,
        command: [findProgram('nginx'), ...nginxArgs(folder, join(folder, CONFIGURATION))],
        'pid-file': join(folder, 'pid'),
        sessions,
      }
      return nginxConfiguration(folder, nginxHttp(port, snippets))
    },
    args: nginxArgs,
    ready: () => reach(port),
  })
  return { host: '127.0.0.1', port, stop, settings: { drain: '30s', nginx: settings } }
}

async function startHaproxy(servers: readonly ProxyServer[]): Promise<BenchProxy> {
  const port = await freePort()
  const snippets = haproxySnippets({ name: NAME, servers, health: '/health' })
  const stop = await startProxy({
    program: 'haproxy',
    configuration: () => haproxyConfiguration(port, snippets),
    args: (_, file) => ['-db', '-f', file],
    ready: () => reach(port),
  })
  return { host: '127.0.0.1', port, stop }
}

const haproxyConfiguration = (port: number, snippets: readonly Snippet[]) => [
  ...['global', 'maxconn 4096', ...textOf(snippets, 'in global')],
  ...['defaults', 'mode http', 'timeout client 300s', ...textOf(snippets, 'in defaults')],
  ...['frontend all', `bind 127.0.0.1:${port} backlog 4096`, `default_backend ${NAME}`],
  ...textOf(snippets, 'in haproxy.cfg'),
]

/** With its runtime API, for the driver. */
async function startDrivenHaproxy(servers: readonly ProxyServer[]): Promise<BenchProxy> {
  const port = await freePort()
  let settings: object | undefined
  const stop = await startProxy({
    program: 'haproxy',
    configuration(folder) {
      const runtime = { socket: join(folder, 's'), stateFile: join(folder, 'state') }
      settings = { socket: `unix://${runtime.socket}`, 'state-file': runtime.stateFile }
      const snippets = haproxySnippets({ name: NAME, servers, health: '/health', runtime })
      return haproxyConfiguration(port, snippets)
    },
    args: (_, file) => ['-W', '-db', '-f', file],
    ready: () => reach(port),
  })
  return { host: '127.0.0.1', port, stop, settings: { drain: '30s', haproxy: settings } }
}
