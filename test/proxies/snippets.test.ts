import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { run } from '../../src/core/process/process.ts'
import { apacheSnippets, haproxySnippets, nginxSnippets } from '../../src/proxies/snippets.ts'
import type { ProxyServer } from '../../src/targets/proxy.ts'
import { writeNginx } from '../support/servers/proxies/reverse-proxies.ts'
import { findProgram, missingProgram } from '../support/servers/server.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { ROOT } from '../support/unit-tests.ts'

const slots = (host: string, address: string): ProxyServer[] => [
  { host, slot: 1, address, port: 18081 },
  { host, slot: 2, address, port: 18082 },
]
const servers = [...slots('app-01', '10.0.0.11'), ...slots('app-02', 'fd00::12')]
const names = [...slots('app-01', 'localhost'), { ...servers[2], slot: undefined } as ProxyServer]
const options = { name: 'webapi-test', servers }

for (const sessions of ['cookie', 'ip-hash', 'none'] as const) {
  t.test(
    `nginx takes its snippet with sessions ${sessions}`,
    {
      skip: missingProgram('nginx'),
    },
    async (t) => {
      const folder = await temporaryFolder(t)
      const { file } = await writeNginx(servers, { folder, port: 8080, sessions })
      const program = findProgram('nginx') ?? ''
      const check = () => run(program, ['-t', '-c', file, '-p', folder, '-e', 'stderr'])
      t.match((await check()).stderr, /test is successful/)
      await writeFile(join(folder, 'crosscloud', 'broken.conf'), 'broken')
      await t.rejects(check(), { code: 'COMMAND_FAILED' }, 'the check would find an error')
    },
  )
}

t.test('HAProxy takes its snippet', { skip: missingProgram('haproxy') }, async (t) => {
  const folder = await temporaryFolder(t)
  const program = findProgram('haproxy') ?? ''
  const runtime = { socket: join(folder, 's'), stateFile: join(folder, 'state') }
  const check = async (text: string) => {
    await writeFile(join(folder, 'haproxy.cfg'), text)
    return run(program, ['-c', '-f', join(folder, 'haproxy.cfg')])
  }
  for (const given of [options, { ...options, servers: names, health: '/health', runtime }]) {
    const [kept = [], backend] = [
      haproxySnippets(given).slice(0, -1),
      haproxySnippets(given).at(-1),
    ]
    const [global = '', defaults = ''] = kept.map(({ text }) => text)
    const text = `global\n${global}\ndefaults\n  timeout client 60s\n${defaults}\nfrontend web\n  mode http\n  bind 127.0.0.1:8080\n  default_backend webapi-test\n${backend?.text}`
    const { stdout, stderr } = await check(text)
    t.match(`${stdout}${stderr}`, /Configuration file is valid/)
    t.notMatch(`${stdout}${stderr}`, /WARNING(?!.*Can't open global server state file)/)
  }
  await t.rejects(check('backend x\n  broken\n'), { code: 'COMMAND_FAILED' })
})

t.test('Apache takes its snippet', { skip: missingProgram('apache2') }, async (t) => {
  const folder = await temporaryFolder(t)
  await mkdir(join(folder, 'logs'))
  const modules = [
    ...['mpm_event', 'authz_core', 'headers', 'slotmem_shm', 'proxy', 'proxy_http'],
    ...['proxy_balancer', 'lbmethod_byrequests'],
  ]
  const check = async (text: string) => {
    const lines = [
      ...modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`),
      `ServerRoot ${folder}`,
      `DefaultRuntimeDir ${folder}`,
      'ServerName localhost',
      'Listen 127.0.0.1:8080',
      '<VirtualHost *:8080>',
      text,
      '</VirtualHost>',
    ]
    await writeFile(join(folder, 'apache2.conf'), `${lines.join('\n')}\n`)
    return run(findProgram('apache2') ?? '', ['-t', '-f', join(folder, 'apache2.conf')])
  }
  const [snippet] = apacheSnippets(options)
  t.match((await check(snippet?.text ?? '')).stderr, /Syntax OK/)
  await t.rejects(check('Broken on'), { code: 'COMMAND_FAILED' })
})

t.test('what is no server is in no snippet', async (t) => {
  const [first] = servers
  if (!first) throw new Error('no server')
  const odd: Partial<ProxyServer>[] = [
    { address: '10.0.0.1; } evil {' },
    { address: '' },
    { address: 'a b' },
    { host: 'App_01' },
    { port: 0 },
    { port: 65_536 },
    { slot: 0 },
  ]
  for (const change of odd) {
    const given = { ...options, servers: [{ ...first, ...change }] }
    for (const print of [nginxSnippets, haproxySnippets, apacheSnippets]) {
      t.throws(() => print(given), { code: 'INPUT_INVALID' }, JSON.stringify(change))
    }
  }
  const twice = { ...options, servers: [first, { ...first, host: 'app-02' }] }
  t.throws(() => nginxSnippets(twice), { code: 'INPUT_INVALID', message: /two servers/ })
  const byCookie = { ...options, servers: names, sessions: 'cookie' as const }
  t.throws(() => nginxSnippets(byCookie), { code: 'INPUT_INVALID', hint: /IP address/ })
})

t.test('the documents show what is printed', async (t) => {
  const page = await readFile(join(ROOT, 'docs/proxies.md'), 'utf8')
  const shown = { name: 'webapi-production', servers: slots('app-01', '10.0.0.11') }
  const owner = { application: 'webapi', environment: 'production' }
  const runtime = {
    socket: '/run/haproxy/admin.sock',
    stateFile: '/var/lib/haproxy/server-state',
  }
  const snippets = [
    ...nginxSnippets({ ...shown, owner, folder: '/etc/nginx/crosscloud' }),
    ...haproxySnippets({ ...shown, health: '/health', runtime }),
    ...apacheSnippets(shown),
  ]
  for (const { place, text } of snippets) t.ok(page.includes(`\`\`\`\n${text}\`\`\``), place)
})
