import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort, reach } from '../../test/support/servers/ports.ts'
import { serverFolder, startServer } from '../../test/support/servers/server.ts'
import type { Endpoint } from './load.ts'

export interface BenchProxy extends Endpoint {
  stop(): Promise<void>
}

/** `address:port` of each slot; one for a container without. */
type Servers = readonly string[]

export const proxies = { nginx: startNginx, haproxy: startHaproxy } as const
export type ProxyName = keyof typeof proxies

interface Start {
  program: string
  configuration(folder: string): string[]
  args(folder: string, file: string): string[]
  ready(): Promise<unknown>
}

/** Starts a proxy in a folder of its own. @returns how to stop it */
export async function startProxy({ program, configuration, args, ready }: Start) {
  const { folder, remove } = await serverFolder('bench-proxy')
  const file = join(folder, 'proxy.conf')
  await writeFile(file, `${configuration(folder).join('\n')}\n`)
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

async function startNginx(servers: Servers): Promise<BenchProxy> {
  const port = await freePort()
  const http = [
    "map $http_upgrade $connection_upgrade { default upgrade; '' ''; }",
    'upstream application {',
    ...servers.map((server) => `server ${server} max_fails=0;`),
    'keepalive 32; keepalive_timeout 5s;',
    '}',
    `server { listen 127.0.0.1:${port} backlog=4096;`,
    'location / {',
    'proxy_pass http://application;',
    'proxy_http_version 1.1;',
    'proxy_set_header Upgrade $http_upgrade;',
    'proxy_set_header Connection $connection_upgrade;',
    'proxy_connect_timeout 1s;',
    'proxy_read_timeout 300s;',
    'proxy_next_upstream error timeout;',
    '} }',
  ]
  const stop = await startProxy({
    program: 'nginx',
    configuration: (folder) => nginxConfiguration(folder, http),
    args: nginxArgs,
    ready: () => reach(port),
  })
  return { host: '127.0.0.1', port, stop }
}

async function startHaproxy(servers: Servers): Promise<BenchProxy> {
  const port = await freePort()
  const lines = [
    ...['global', 'maxconn 4096'],
    ...['defaults', 'mode http', 'timeout connect 1s', 'timeout client 300s'],
    ...['timeout server 300s', 'timeout check 3s'],
    ...['frontend all', `bind 127.0.0.1:${port} backlog 4096`, 'default_backend application'],
    ...['backend application', 'balance roundrobin', 'option redispatch 1', 'retries 3'],
    'retry-on conn-failure empty-response',
    'http-request disable-l7-retry if METH_POST',
    ...['option http-server-close', 'option httpchk GET /health'],
    'default-server check inter 1s fastinter 300ms fall 3 rise 2 pool-purge-delay 1s',
    ...servers.map((server, index) => `server slot${index + 1} ${server}`),
  ]
  const stop = await startProxy({
    program: 'haproxy',
    configuration: () => lines,
    args: (_, file) => ['-db', '-f', file],
    ready: () => reach(port),
  })
  return { host: '127.0.0.1', port, stop }
}
