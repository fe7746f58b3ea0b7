import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { ProxySettings } from '../../../../src/proxies/settings.ts'
import { proxySettings } from '../../../../src/proxies/settings.ts'
import { haproxySnippets, nginxSnippets, type Snippet } from '../../../../src/proxies/snippets.ts'
import type { ProxyServer } from '../../../../src/targets/proxy.ts'
import { freePort, reach } from '../ports.ts'
import { findProgram, type RunningServer, serverFolder, startServer } from '../server.ts'

export const NAME = 'webapi-test'

export interface TestProxy {
  url: string
  folder: string
  server: RunningServer
  /** As they stand in crosscloud.yml. */
  settings: Record<string, unknown>
}

/** The parsed `proxy:` of an environment. */
export function parseProxy(written: Record<string, unknown>): ProxySettings {
  return proxySettings.parse(written)
}

const placed = (snippets: readonly Snippet[], place: string) =>
  snippets
    .filter((snippet) => snippet.place === place)
    .map(({ text }) => text)
    .join('')

export interface NginxFiles {
  folder: string
  port: number
  sessions?: 'cookie' | 'ip-hash' | 'none'
}

/** A whole nginx in one folder, with our snippets pasted; nothing of the system's is used. */
export async function writeNginx(servers: readonly ProxyServer[], files: NginxFiles) {
  const { folder, port, sessions = 'none' } = files
  const own = join(folder, 'crosscloud')
  const snippets = nginxSnippets({ name: NAME, servers, folder: own, sessions })
  await mkdir(own, { recursive: true })
  await writeFile(join(own, `${NAME}.conf`), placed(snippets, `${own}/${NAME}.conf`))
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const lines = [
    'daemon off;',
    ...(process.getuid?.() === 0 ? ['user root;'] : []),
    `pid ${join(folder, 'nginx.pid')};`,
    'error_log stderr notice;',
    'worker_processes 1;',
    'events { worker_connections 256; }',
    'http {',
    'access_log off;',
    ...temporary.map((kind) => `${kind}_temp_path ${join(folder, kind)};`),
    placed(snippets, 'in http { }'),
    `server { listen 127.0.0.1:${port};`,
    placed(snippets, 'in server { }'),
    '} }',
  ]
  const file = join(folder, 'nginx.conf')
  await writeFile(file, `${lines.join('\n')}\n`)
  return { file, own }
}

export async function startNginx(
  t: Pick<Test, 'teardown'>,
  servers: readonly ProxyServer[],
  options: Pick<NginxFiles, 'sessions'> = {},
): Promise<TestProxy> {
  const { folder, remove } = await serverFolder('nginx')
  t.teardown(remove)
  const port = await freePort()
  const { file, own } = await writeNginx(servers, { folder, port, ...options })
  const flags = ['-c', file, '-p', folder, '-e', 'stderr']
  const server = await startServer('nginx', flags, { ready: () => reach(port) })
  t.teardown(() => server.stop())
  const nginx = {
    folder: own,
    status: `http://127.0.0.1:${port}/.crosscloud/${NAME}`,
    command: [findProgram('nginx'), ...flags],
    'pid-file': join(folder, 'nginx.pid'),
    ...options,
  }
  return { url: `http://127.0.0.1:${port}`, folder, server, settings: { nginx } }
}

/** HAProxy with its master, so that it can be reloaded: SIGUSR2. */
export async function startHaproxy(
  t: Pick<Test, 'teardown'>,
  servers: readonly ProxyServer[],
  { level = 'admin' } = {},
): Promise<TestProxy> {
  const { folder, remove } = await serverFolder('haproxy')
  t.teardown(remove)
  const port = await freePort()
  const runtime = { socket: join(folder, 's'), stateFile: join(folder, 'state') }
  const snippets = haproxySnippets({ name: NAME, servers, health: '/health', runtime })
  const lines = [
    'global',
    placed(snippets, 'in global').replace('level admin', `level ${level}`),
    'defaults',
    '  mode http',
    '  timeout client 60s',
    placed(snippets, 'in defaults'),
    'frontend web',
    `  bind 127.0.0.1:${port}`,
    `  default_backend ${NAME}`,
    placed(snippets, 'in haproxy.cfg'),
  ]
  await writeFile(join(folder, 'haproxy.cfg'), `${lines.join('\n')}\n`)
  const server = await startServer('haproxy', ['-W', '-db', '-f', join(folder, 'haproxy.cfg')], {
    ready: () => reach(port),
  })
  t.teardown(() => server.stop())
  const haproxy = { socket: `unix://${runtime.socket}`, 'state-file': runtime.stateFile }
  return { url: `http://127.0.0.1:${port}`, folder, server, settings: { haproxy } }
}
