import { readFile, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { silentLog } from '../../src/core/log.ts'
import { openProxy } from '../../src/proxies/open.ts'
import type { ProxyServer, ReverseProxy } from '../../src/targets/proxy.ts'
import { type Backend, send, startBackends } from '../support/servers/backends.ts'
import { freePort } from '../support/servers/ports.ts'
import {
  NAME,
  parseProxy,
  startNginx,
  type TestProxy,
} from '../support/servers/proxies/reverse-proxies.ts'
import { missingProgram } from '../support/servers/server.ts'
import { until } from '../support/until.ts'
import { follow, proxyConformance } from './proxy-conformance.ts'

const skip = missingProgram('nginx')

async function open(
  t: Pick<Test, 'teardown'>,
  backends: readonly Backend[],
  written: Record<string, unknown>,
  more: { timeout?: number; owner?: { application: string; environment: string } } = {},
): Promise<ReverseProxy> {
  const servers = backends.map(({ server }) => server)
  const options = { name: NAME, servers, folder: '.', log: silentLog, ...more }
  const proxy = await openProxy(parseProxy(written), options)
  t.teardown(() => proxy.close())
  return proxy
}

/** With changed settings of nginx. */
const withNginx = ({ settings }: TestProxy, changed: Record<string, unknown>) => ({
  nginx: { ...(settings.nginx as object), ...changed },
})

t.test('nginx does what every proxy must', { skip }, async (t) => {
  const [first, second] = (await startBackends(t, 2)) as [Backend, Backend]
  const backends = [first, second] as const
  const nginx = await startNginx(t, [first.server, second.server])
  const proxy = await open(t, backends, { ...nginx.settings, drain: '60s' })
  const hasty = await open(t, backends, { ...nginx.settings, drain: '500ms' })
  await proxyConformance(t, { proxy, hasty, backends, url: nginx.url })
})

t.test(
  'a change that nginx refuses is taken back, and the proxy is as before',
  { skip },
  async (t) => {
    const backends = await startBackends(t, 2)
    const servers = backends.map(({ server }) => server)
    const nginx = await startNginx(t, servers)
    const proxy = await open(t, backends, nginx.settings)
    const before = await proxy.states()
    const path = join(nginx.folder, 'crosscloud', `${NAME}.conf`)
    const text = await readFile(path, 'utf8')
    const other = join(nginx.folder, 'crosscloud', 'other.conf')
    await writeFile(other, `upstream ${NAME} { server 127.0.0.1:1; }\n`)
    const [one] = servers
    if (!one) throw new Error('no server')
    await t.rejects(proxy.takeOut(one), {
      code: 'COMMAND_FAILED',
      message:
        /nginx on this machine refuses the configuration: [\s\S]*duplicate upstream "webapi-test"/,
    })
    t.equal(await readFile(path, 'utf8'), text)
    t.same(await proxy.states(), before)
    await t.rejects(proxy.check(), { message: /refuses the configuration/ })
    await writeFile(other, '')
    await proxy.takeOut(one)
    t.equal((await send(nginx.url)).body, 'slot 2')
  },
)

t.test(
  'a reload that does not happen is found, and the file is taken back',
  { skip },
  async (t) => {
    const backends = await startBackends(t, 2)
    const servers = backends.map(({ server }) => server)
    const nginx = await startNginx(t, servers)
    const path = join(nginx.folder, 'crosscloud', `${NAME}.conf`)
    const text = await readFile(path, 'utf8')
    // It says that all is well, and does nothing: as a signal to a container without the file.
    const proxy = await open(t, backends, withNginx(nginx, { command: ['true'] }), {
      timeout: 1500,
    })
    const [one] = servers
    if (!one) throw new Error('no server')
    await t.rejects(proxy.takeOut(one), { code: 'VERIFY_FAILED', message: /works by generation 1/ })
    t.equal(await readFile(path, 'utf8'), text)
    t.same(
      (await proxy.states()).map(({ mode }) => mode),
      ['in', 'in'],
    )
  },
)

t.test('a change is done once no old worker takes requests any more', { skip }, async (t) => {
  const [first, second] = (await startBackends(t, 2)) as [Backend, Backend]
  const nginx = await startNginx(t, [first.server, second.server])
  const proxy = await open(t, [first, second], nginx.settings)
  for (const { server } of [first, second]) await proxy.takeOut(server, { evenIfLast: true })
  const master = (await readFile(join(nginx.folder, 'nginx.pid'), 'utf8')).trim()
  const children = `/proc/${master}/task/${master}/children`
  const worker = Number(await readFile(children, 'utf8'))
  // The old worker cannot hear that it is to end, as where it gets no time of the processor.
  const script = `case "$*" in *reload*) kill -STOP ${worker};; esac; exec "$@"`
  const { command } = nginx.settings.nginx as { command: string[] }
  const slow = await open(
    t,
    [first, second],
    withNginx(nginx, { command: ['sh', '-c', script, 'sh', ...command] }),
  )
  const putting = follow(slow.putIn(first.server))
  try {
    const status = `${nginx.url}/.crosscloud/${NAME}`
    t.ok(await until(async () => putting.isOver || (await send(status)).body === '4'))
    await sleep(1000)
    t.notOk(putting.isOver, 'the old worker still listens')
  } finally {
    process.kill(worker, 'SIGCONT')
  }
  await putting.promise
  t.not((await readFile(children, 'utf8')).trim(), String(worker))
  t.equal((await send(nginx.url)).body, 'slot 1')
})

t.test('what a killed deployer left is completed or taken back', { skip }, async (t) => {
  const backends = await startBackends(t, 2)
  const nginx = await startNginx(
    t,
    backends.map(({ server }) => server),
  )
  const proxy = await open(t, backends, nginx.settings)
  const path = join(nginx.folder, 'crosscloud', `${NAME}.conf`)
  const text = await readFile(path, 'utf8')
  const next = text
    .replaceAll(/generation 1$/gm, 'generation 2')
    .replace('default 1;', 'default 2;')

  await t.test('what was killed before the reload is completed', async (t) => {
    await writeFile(`${path}.before`, text)
    await writeFile(path, next)
    await t.rejects(proxy.states(), { code: 'CONFLICT', message: /generation 2.*works by 1/ })
    t.match(await proxy.check(), /was interrupted/)
    t.match(await proxy.repair(), /was completed/)
    t.equal(await proxy.check(), undefined)
    t.same((await proxy.states()).length, 2)
    t.equal(await proxy.repair(), undefined)
  })
  await t.test('what was killed after the reload stays', async (t) => {
    await writeFile(`${path}.before`, text)
    t.match(await proxy.repair(), /interrupted after it was made/)
    t.equal(await readFile(path, 'utf8'), next)
    t.equal(await proxy.repair(), undefined)
  })
  await t.test('what was killed with a file that nginx refuses is taken back', async (t) => {
    await writeFile(`${path}.before`, next)
    await writeFile(path, `${next.replace('# generation 2', '# generation 3')}broken;\n`)
    t.match(await proxy.repair(), /was taken back/)
    t.equal(await readFile(path, 'utf8'), next)
    t.same((await proxy.states()).length, 2)
  })
})

t.test('a cookie keeps a session at its server until that is taken out', { skip }, async (t) => {
  const backends = await startBackends(t, 2)
  const nginx = await startNginx(
    t,
    backends.map(({ server }) => server),
    { sessions: 'cookie' },
  )
  const proxy = await open(t, backends, nginx.settings)
  const first = await send(nginx.url)
  const [cookie = ''] = first.cookies
  t.match(cookie, /^webapi_test_server=app-01-[12]$/)
  for (let i = 0; i < 6; i++) {
    const again = await send(nginx.url, { cookie })
    t.same([again.body, again.cookies], [first.body, []])
  }
  const mine = backends.find(({ server }) => first.body === `slot ${server.slot}`)
  if (!mine) throw new Error(first.body)
  await proxy.takeOut(mine.server)
  const moved = await send(nginx.url, { cookie })
  t.not(moved.body, first.body)
  t.not(moved.cookies[0], cookie)
  await proxy.putIn(mine.server)
  t.equal((await send(nginx.url, { cookie: moved.cookies[0] ?? '' })).body, moved.body, 'it stays')
})

t.test(
  'a cookie is set by a response of a server, and by no error of nginx',
  { skip },
  async (t) => {
    const backends = await startBackends(t, 2)
    const servers = backends.map(({ server }) => server)
    const [one, other] = servers as [ProxyServer, ProxyServer]
    const dead = await Promise.all([freePort(), freePort()])
    const start = (ports: readonly number[]) =>
      startNginx(
        t,
        [one, other].map((server, at) => ({ ...server, port: ports[at] ?? 0 })),
        { sessions: 'cookie' },
      )
    const nobody = await start(dead)
    for (const cookie of ['', 'webapi_test_server=app-01-1', 'webapi_test_server=elsewhere']) {
      const refused = await send(nobody.url, { cookie })
      t.same([refused.status, refused.cookies], [502, []], cookie)
    }
    const half = await start([dead[0], other.port])
    for (let i = 0; i < 4; i++) {
      const { status, cookies } = await send(half.url)
      t.same([status, cookies], [200, ['webapi_test_server=app-01-2']], 'after the other refused')
    }
    const moved = await send(half.url, { cookie: 'webapi_test_server=app-01-1' })
    t.same([moved.status, moved.cookies], [200, ['webapi_test_server=app-01-2']])
    const broken = await send(`${half.url}/broken`)
    t.same([broken.status, broken.cookies], [500, ['webapi_test_server=app-01-2']], 'its own error')
  },
)

t.test('what is missing is named, with the next step', { skip }, async (t) => {
  const backends = await startBackends(t, 2)
  const nginx = await startNginx(
    t,
    backends.map(({ server }) => server),
  )
  const states = async (changed: Record<string, unknown>) =>
    (await open(t, backends, withNginx(nginx, changed))).states()
  await t.rejects(states({ folder: '/nowhere' }), {
    code: 'NOT_FOUND',
    hint: /hosts proxy-config --env/,
  })
  await t.rejects(states({ status: `${nginx.url}/other` }), {
    code: 'NOT_FOUND',
    message: /nginx on this machine: GET .*\/other: HTTP 200, and no generation/,
  })
  await writeFile(join(nginx.folder, 'crosscloud', 'mine.conf'), 'upstream mine { server x; }')
  await t.rejects(states({ upstream: 'mine' }), { code: 'CONFLICT', message: /not written by/ })
  await nginx.server.stop()
  t.ok(
    await until(() =>
      states({}).then(
        () => false,
        ({ code }) => code === 'UNAVAILABLE',
      ),
    ),
  )
})

t.test(
  'an include file that is a link is refused, and its folder is as before',
  { skip },
  async (t) => {
    const backends = await startBackends(t, 1)
    const servers = backends.map(({ server }) => server)
    const nginx = await startNginx(t, servers)
    const proxy = await open(t, backends, nginx.settings)
    const path = join(nginx.folder, 'crosscloud', `${NAME}.conf`)
    const elsewhere = join(nginx.folder, 'elsewhere')
    await rename(path, elsewhere)
    const text = await readFile(elsewhere, 'utf8')
    await symlink(elsewhere, path)
    const refused = {
      code: 'CONFLICT',
      message: `nginx on this machine: ${path} is a symbolic link`,
    }
    await t.rejects(proxy.states(), refused)
    await t.rejects(proxy.check(), refused)
    t.equal(await readFile(elsewhere, 'utf8'), text)
  },
)

t.test('the include file of another application or environment is refused', { skip }, async (t) => {
  const backends = await startBackends(t, 2)
  const servers = backends.map(({ server }) => server)
  const [one] = servers
  if (!one) throw new Error('no server')
  const nginx = await startNginx(t, servers)
  const path = join(nginx.folder, 'crosscloud', `${NAME}.conf`)
  const owner = { application: 'a-b', environment: 'c' }
  const own = await open(t, backends, nginx.settings, { owner })
  await own.takeOut(one)
  const text = await readFile(path, 'utf8')
  t.match(text, '\n# of a-b in c\n')
  const other = { application: 'a', environment: 'b-c' }
  const foreign = await open(t, backends.slice(0, 1), nginx.settings, { owner: other })
  const message = `nginx on this machine: ${path} is of a-b in c, not of a in b-c`
  await t.rejects(foreign.states(), { code: 'CONFLICT', message })
  await t.rejects(foreign.putIn(one), { code: 'CONFLICT', message })
  t.equal(await readFile(path, 'utf8'), text)
})
