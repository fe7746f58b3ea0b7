import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { noEngine } from '../../support/servers/engine.ts'
import {
  type Attempt,
  expectEnd,
  type Fleet,
  type Serving,
  startFleet,
} from '../../support/setups/fleet.ts'
import { refusedByProxy } from './refused-by-proxy.ts'

const exec = promisify(execFile)
const skip = noEngine('docker-registry', 'gcc', 'iptables', 'nsenter')
if (skip) t.test('faults in a rollout', { skip }, async () => {})
else {
  const fleet = await startFleet(t)
  for (const version of ['1.0.0', '1.0.1']) await fleet.sandbox.release(version)
  await fleet.configure({ parallel: 4 })
  const { code, text } = await fleet.deploy('1.0.0')
  if (code !== 0) throw new Error(text)
  await beforeAnyHost(fleet)
  await onOneHost(fleet)
  await refusedByProxy(t, fleet)
}

async function beforeAnyHost(fleet: Fleet): Promise<void> {
  const { registry, third, configure, deploy } = fleet
  const expectUntouched = (t: Test, { row, ...attempt }: Attempt, error: RegExp) => {
    t.equal(attempt.code, 1)
    t.match(attempt.text, error)
    t.match(row, { state: 'failed', version: '1.0.1', hosts: [], error })
    t.same(attempt.serving, ['old', 'old', 'old', 'old'])
  }

  await t.test('a host whose pull is refused: no host was changed', async (t) => {
    await configure({ 'on-failure': 'continue' })
    const refusing = createServer((_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="elsewhere"' }).end()
    }).listen(0, registry.address.split(':')[0])
    await once(refusing, 'listening')
    t.teardown(() => void refusing.close())
    const [host = '', port = ''] = registry.address.split(':')
    const there = `${host}:${(refusing.address() as AddressInfo).port}`
    const rule = ['OUTPUT', '-p', 'tcp', '-d', host, '--dport', port, '-j', 'DNAT']
    const redirect = (how: string) =>
      third.run('iptables', '-t', 'nat', how, ...rule, '--to-destination', there)
    await redirect('-A')
    const attempt = await deploy('1.0.1').finally(() => redirect('-D'))
    expectUntouched(t, attempt, /host app-03: pulling .*(?:unauthorized|no basic auth)/)
  })

  await t.test(
    'a host whose disk is full has no room for the image: no host was changed',
    async (t) => {
      await configure({ 'on-failure': 'stop' })
      await fill(third.dataRoot)
      const attempt = await deploy('1.0.1').finally(() => empty(third.dataRoot))
      expectUntouched(t, attempt, /host app-03: pulling .*no space left on device/)
      t.match(attempt.text, /The host has no room/)
    },
  )
}

async function onOneHost({ third, configure, deploy }: Fleet): Promise<void> {
  await t.test('a container that is killed, out of memory', async (t) => {
    await third.engine.docker.createVolume({ Name: 'webapi-data' })
    const volume = third.engine.docker.getVolume('webapi-data')
    await writeFile(join((await volume.inspect()).Mountpoint, 'hog'), '')
    const hungry = { env: { HOG: '/data/hog' }, memory: '16m', volumes: ['webapi-data:/data'] }
    // A busy engine does not always hear from the kernel that memory was short.
    const why = /host app-03: webapi-test\.next ended.*(out of memory|SIGKILL)/
    const back = /app-03: the old container serves again/
    // With two at once the fourth host may be done before the third one fails.
    const table: [policy: string, parallel: number, serving: Serving[]][] = [
      ['restore', 2, ['old', 'old', 'old', 'old']],
      ['continue', 2, ['new', 'new', 'old', 'new']],
      ['stop', 1, ['new', 'new', 'old', 'old']],
    ]
    for (const [policy, parallel, serving] of table) {
      await configure({ 'on-failure': policy, parallel }, hungry)
      expectEnd(t, await deploy('1.0.1'), serving, [why, back])
    }
  })

  await t.test('a host whose disk is full when its container is made', async (t) => {
    await configure({ 'on-failure': 'continue' })
    // It has the image by now.
    await fill(third.dataRoot)
    const attempt = await deploy('1.0.1').finally(() => empty(third.dataRoot))
    const why = /host app-03: .*no space left on device/
    expectEnd(t, attempt, ['new', 'new', 'old', 'new'], [why, /app-03: /])
  })

  await t.test('an engine that dies, and is started again, gets its container back', async (t) => {
    await configure({ 'on-failure': 'restore' })
    const restart = async () => {
      await third.kill()
      await third.start()
    }
    const attempt = await deploy('1.0.1', { at: /app-03: stopped the old/, occur: restart })
    const why = /host app-03 \(tcp:.*\): does not answer/
    expectEnd(t, attempt, ['old', 'old', 'old', 'old'], [why, /app-03: the old .* serves again/])
    t.match(attempt.text, /asking again for 30 s/)
  })

  await t.test('an engine that stays dead: what serves there is not known', async (t) => {
    await configure({ 'on-failure': 'continue' })
    const dies = { at: /app-01: .* is the new container/, occur: () => third.kill() }
    const attempt = await deploy('1.0.1', dies, () => third.start())
    const line = /app-03: not touched; what serves there is not known: .*does not answer/
    expectEnd(t, attempt, ['new', 'new', '?', 'new'], [line])
    t.equal(attempt.code, 75, 'another time it may do')
  })

  await t.test('a network that is cut for 10 s', async (t) => {
    // A start of the engine after a crash leaves containers down; all serve again.
    await configure({ parallel: 4 })
    t.equal((await deploy('1.0.0')).code, 0)
    await configure({ 'on-failure': 'stop', parallel: 1 })
    const cut = async () => {
      third.cut()
      await sleep(10_000)
      third.mend()
    }
    const attempt = await deploy('1.0.1', { at: /app-03\n[\s\S]*stopped the old/, occur: cut })
    if (attempt.code === 0) {
      // A connection that is open outlasts the cut; a new one would have failed.
      t.same(attempt.serving, ['new', 'new', 'new', 'new'])
      t.same(attempt.recorded, attempt.serving)
      t.match(attempt.row, { state: 'succeeded', verified: true })
    } else {
      expectEnd(t, attempt, ['new', 'new', 'old', 'old'], [/app-03: the old .* serves again/])
    }
  })
}

async function fill(dataRoot: string): Promise<void> {
  const file = `of=${fillerOf(dataRoot)}`
  await exec('dd', ['if=/dev/zero', file, 'bs=1M']).catch(() => {})
  await exec('dd', ['if=/dev/zero', file, 'bs=4k', 'oflag=append', 'conv=notrunc']).catch(() => {})
}

async function empty(dataRoot: string): Promise<void> {
  await rm(fillerOf(dataRoot), { force: true })
}

function fillerOf(dataRoot: string): string {
  return join(dataRoot, 'filler')
}
