import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createLog, silentLog } from '../../src/core/log.ts'
import { programEnvironment } from '../../src/core/process/worker.ts'
import { openLocal } from '../../src/proxies/machine/program.ts'
import { openProxy } from '../../src/proxies/open.ts'
import type { ProxyServer } from '../../src/targets/proxy.ts'
import { type Backend, startBackends } from '../support/servers/backends.ts'
import { NAME, parseProxy, startHaproxy } from '../support/servers/proxies/reverse-proxies.ts'
import { runtimeCommands } from '../support/servers/runtime-commands.ts'
import { missingProgram } from '../support/servers/server.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { proxyConformance } from './proxy-conformance.ts'

async function open(
  t: Pick<Test, 'teardown'>,
  servers: readonly ProxyServer[],
  written: Record<string, unknown>,
  folder = '.',
) {
  const printed: string[] = []
  const log = createLog({
    format: 'plain',
    write: (text) => void printed.push(text),
    mask: (text) => text.replaceAll('s3cret', '***'),
  })
  const proxy = await openProxy(parseProxy(written), { name: NAME, servers, folder, log })
  t.teardown(() => proxy.close())
  return { proxy, printed: () => printed.join('') }
}

t.test(
  'commands do what every proxy must',
  { skip: missingProgram('haproxy', 'perl') },
  async (t) => {
    const [first, second] = (await startBackends(t, 2)) as [Backend, Backend]
    const servers = [first.server, second.server]
    const haproxy = await startHaproxy(t, servers)
    const commands = await runtimeCommands(haproxy)
    const { proxy, printed } = await open(t, servers, { commands, drain: '60s' })
    const { proxy: hasty } = await open(t, servers, { commands, drain: '500ms' })
    await proxyConformance(t, { proxy, hasty, backends: [first, second], url: haproxy.url })
    t.match(printed(), /state drain is set/)
  },
)

const one: ProxyServer = { host: 'app-01', slot: undefined, address: '10.0.0.11', port: 8080 }
const two: ProxyServer = { ...one, host: 'app-02', address: 'fd00::1' }

/** `touch` and `rm` of a file: no more than a program with arguments. */
const files = {
  'take-out': ['rm', '-f', '{{name}}'],
  'put-in': ['touch', '{{name}}'],
  check: ['test', '-e', '{{name}}'],
}

t.test('on a server the programs get none of its variables', async (t) => {
  const folder = await temporaryFolder(t)
  const { PATH = '' } = process.env
  const variables = { PATH, HOME: folder, LEDGER_PASSWORD: 'swordfish', NODE_OPTIONS: '--x' }
  const variablesOf = async (programs: ReturnType<typeof programEnvironment>) => {
    const file = join(folder, 'variables')
    const commands = { ...files, 'put-in': ['sh', '-c', `env > ${file}; touch {{name}}`] }
    const settings = parseProxy({ commands })
    const options = { name: NAME, servers: [one], folder, log: silentLog, programs }
    const proxy = await openProxy(settings, options)
    await proxy.putIn(one)
    await proxy.close()
    const machine = openLocal(programs)
    const local = await machine.run(['env'])
    return `${await readFile(file, 'utf8')}\n${local}`
  }
  const worker = programEnvironment({ ...variables, CROSSCLOUD_WORKER: 'true' })
  const found = await variablesOf(worker)
  t.notMatch(found, /swordfish|NODE_OPTIONS|npm_|CROSSCLOUD/)
  t.match(found, `HOME=${folder}`)
  t.strictSame(programEnvironment(variables), {}, 'elsewhere they are those of the user')
})

t.test('an argument is one argument, and no shell sees it', async (t) => {
  const folder = await temporaryFolder(t)
  const odd = ['touch', '{{name}}', '$(id) {{host}};{{slot}}|{{ address }}', "'{{port}}"]
  const commands = { ...files, 'put-in': odd }
  const { proxy } = await open(t, [one, two], { commands }, folder)
  t.equal(proxy.isWeighted, false)
  await proxy.putIn(two)
  t.same(new Set(await readdir(folder)), new Set(['app-02', '$(id) app-02;|fd00::1', "'8080"]))
  t.match(await proxy.states(), [
    { mode: 'out', up: false },
    { mode: 'in', up: true },
  ])
})

t.test('a command that fails is named, with what it printed', async (t) => {
  const folder = await temporaryFolder(t)
  const said = ['sh', '-c', 'echo token s3cret >&2; exit 7']
  const { proxy } = await open(t, [one, two], { commands: { ...files, check: said } }, folder)
  await t.rejects(proxy.states(), {
    code: 'COMMAND_FAILED',
    message: /proxy by commands: check of app-01: .* exited with 7\ntoken s3cret/s,
  })
  const failing = { ...files, 'put-in': ['sh', '-c', 'echo token s3cret; exit 1'] }
  const { proxy: other, printed } = await open(t, [one, two], { commands: failing }, folder)
  await t.rejects(other.putIn(one), { code: 'COMMAND_FAILED', message: /put-in of app-01/ })
  t.match(printed(), /\| token \*\*\*/)
  const missing = { ...files, check: ['no-such-program'] }
  const { proxy: third } = await open(t, [one, two], { commands: missing }, folder)
  await t.rejects(third.states(), { code: 'NOT_FOUND', message: /no-such-program/ })
  const slow = { ...files, check: ['sleep', '60'], timeout: '300ms' }
  const { proxy: fourth } = await open(t, [one, two], { commands: slow }, folder)
  await t.rejects(fourth.states(), { code: 'COMMAND_FAILED', message: /longer than 0\.3 s/ })
})

t.test('a take-out that changes nothing is found by the check', async (t) => {
  const folder = await temporaryFolder(t)
  await Promise.all(['app-01', 'app-02'].map((name) => mkdir(join(folder, name))))
  const commands = { ...files, 'take-out': ['true'] }
  const { proxy } = await open(t, [one, two], { commands, drain: '1s' }, folder)
  await t.rejects(proxy.takeOut(one), {
    code: 'COMMAND_FAILED',
    message: /take-out of app-01 ended well, but check says that it gets requests/,
  })
})
