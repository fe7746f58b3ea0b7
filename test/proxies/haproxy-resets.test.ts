import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { haproxySnippets } from '../../src/proxies/snippets.ts'
import { type Backend, send, startBackends } from '../support/servers/backends.ts'
import { freePort, reach } from '../support/servers/ports.ts'
import { missingProgram, serverFolder, startServer } from '../support/servers/server.ts'
import { until } from '../support/until.ts'

const skip = missingProgram('haproxy', 'perl')

/** Listens at so many ports and takes no connection; a line closes them all. */
const LISTENER = String.raw`
use IO::Socket::INET;
my @all = map { IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 16) or die } 1 .. $ARGV[0];
$| = 1;
print join(' ', map { $_->sockport } @all), "\n";
<STDIN>;
close $_ for @all;
<STDIN>;
`

/** What could be thought to help, in place of a part of the printed backend. */
const OPTIONS: Record<string, [part: string, instead: string]> = {
  'as it is printed': ['', ''],
  'no kept connections': ['  option http-server-close', '  http-reuse never'],
  'a hasty check': ['fall 3 rise 2', 'fall 1 rise 1'],
  'down at the first error': [
    'weight 100',
    'weight 100 observe layer4 error-limit 1 on-error mark-down',
  ],
  'sessions of what is down end': ['weight 100', 'weight 100 on-marked-down shutdown-sessions'],
  'redispatch of all retries': ['retry-on conn-failure', 'retry-on conn-failure response-timeout'],
}
const REPEATED: [part: string, instead: string] = [
  '  http-request disable-l7-retry unless METH_GET\n',
  '',
]

interface Pair {
  name: string
  /** A part of the printed backend, and what stands in its place. */
  changed: [part: string, instead: string]
  port: number
  other: Backend
}

t.test(
  'a POST that a closing port resets is not sent again by HAProxy, whatever its options; a GET is',
  { skip },
  async (t) => {
    const names = Object.keys(OPTIONS)
    const { ports, close } = await listen(t, names.length)
    const others = await startBackends(t, names.length)
    const pairs = Object.values(OPTIONS).map((changed, at): Pair => {
      return { name: `v${at}`, changed, port: ports[at] ?? 0, other: others[at] as Backend }
    })
    const urls = await startPairs(t, pairs)
    const sent = urls.map((url, at) => {
      const cookie = `v${at}_server=app-01-1`
      return [
        send(`${url}/?id=get`, { cookie }),
        send(`${url}/?id=post`, { cookie, method: 'POST' }),
      ]
    })
    t.ok(await until(async () => (await pendingAt(ports)) === 2 * ports.length), 'all wait there')
    close()
    for (const [at, name] of names.entries()) {
      const [get, post] = await Promise.all(sent[at] ?? [])
      t.match(get, { status: 200 }, `GET, ${name}`)
      t.equal(post?.status, 502, `POST, ${name}`)
      t.same(others[at]?.seen, ['get'], name)
      // Once it is closed, all are refused, and go to the other server.
      const cookie = `v${at}_server=app-01-1`
      t.match(await send(`${urls[at]}/`, { cookie, method: 'POST' }), { status: 200 })
    }
  },
)

t.test('a POST that is sent again after a reset may run twice', { skip }, async (t) => {
  const others = await startBackends(t, 2)
  const executed: string[] = []
  const server = createServer((request) => {
    request.resume().on('end', () => {
      executed.push(request.url ?? '')
      request.socket.resetAndDestroy()
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => void server.close())
  const { port } = server.address() as AddressInfo
  const pairs = [['', ''] as [string, string], REPEATED].map((changed, at): Pair => {
    return { name: `v${at}`, changed, port, other: others[at] as Backend }
  })
  const urls = await startPairs(t, pairs)
  const post = (at: number) =>
    send(`${urls[at]}/?id=v${at}`, { cookie: `v${at}_server=app-01-1`, method: 'POST' })
  t.equal((await post(0)).status, 502)
  t.equal((await post(1)).status, 200)
  t.same(executed, ['/?id=v0', '/?id=v1'])
  t.same(
    others.map(({ seen }) => seen),
    [[], ['v1']],
    'once as it is printed, and twice without that line',
  )
})

/** HAProxy with a backend for each pair. @returns where each is asked */
async function startPairs(t: Test, pairs: readonly Pair[]): Promise<string[]> {
  const { folder, remove } = await serverFolder('haproxy')
  t.teardown(remove)
  const lines = ['defaults', '  mode http', '  timeout client 60s']
  const urls: string[] = []
  for (const { name, changed, port, other } of pairs) {
    const at = await freePort()
    const servers = [
      { host: 'app-01', slot: 1, address: '127.0.0.1', port },
      { ...other.server, slot: 2 },
    ]
    const text = haproxySnippets({ name, servers }).at(-1)?.text ?? ''
    t.ok(text.includes(changed[0]), changed[0])
    lines.push(`frontend to-${name}`, `  bind 127.0.0.1:${at}`, `  default_backend ${name}`)
    lines.push(text.replace(...changed))
    urls.push(`http://127.0.0.1:${at}`)
  }
  const file = join(folder, 'haproxy.cfg')
  await writeFile(file, `${lines.join('\n')}\n`)
  const ready = () => Promise.all(urls.map((url) => reach(Number(new URL(url).port))))
  const haproxy = await startServer('haproxy', ['-db', '-f', file], { ready })
  t.teardown(() => haproxy.stop())
  return urls
}

async function listen(t: Test, count: number) {
  const child: ChildProcess = spawn('perl', ['-e', LISTENER, String(count)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill())
  const [printed] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
  const ports = String(printed).trim().split(' ').map(Number)
  return { ports, close: () => void child.stdin?.write('\n') }
}

/** Connections with a request that nobody has taken yet: proc(5), /proc/net/tcp. */
async function pendingAt(ports: readonly number[]): Promise<number> {
  const table = await readFile('/proc/net/tcp', 'utf8')
  const [ESTABLISHED, NONE] = ['01', '00000000']
  return table.split('\n').filter((line) => {
    const [, local = '', , state, queues = ''] = line.trim().split(/\s+/)
    const port = Number.parseInt(local.split(':')[1] ?? '', 16)
    return ports.includes(port) && state === ESTABLISHED && queues.split(':')[1] !== NONE
  }).length
}
