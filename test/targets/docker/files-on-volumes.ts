import { chmod, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { silentLog } from '../../../src/core/log.ts'
import type { ContainerSettings, ContainerSpec, Host } from '../../../src/targets/docker/host.ts'
import { parseVolume } from '../../../src/targets/docker/notation.ts'
import { repair } from '../../../src/targets/docker/rollout/repair.ts'
import { rollOut } from '../../../src/targets/docker/rollout/rollout.ts'
import { settings as base } from './host-conformance.ts'
import { mortal } from './mortal.ts'

/** What becomes of a file on a volume, which the old container sees as well. */
export async function filesOnVolumes(t: Test, host: Host, image: string): Promise<void> {
  const folder = t.testdir({ 'app.conf': 'of before' })
  const path = join(folder, 'app.conf')
  await chmod(path, 0o604)
  const content = () => readFile(path, 'utf8')
  const spec = (text: string, settings: Partial<ContainerSettings> = {}, file = '/conf/app.conf') =>
    ({
      name: 'volumes',
      image,
      labels: {},
      settings: { ...base, restart: 'no', volumes: [parseVolume(`${folder}:/conf/`)], ...settings },
      files: [{ path: file, content: Buffer.from(text), mode: 0o640, uid: 0, gid: 0 }],
    }) satisfies ContainerSpec
  const { signal } = new AbortController()
  const go = (wanted: ContainerSpec, on = host) =>
    rollOut({ hosts: [on], spec: wanted, log: silentLog, signal, verify: async () => {} })
  const current = () => host.inspect('volumes')

  await t.test('a file on a volume is refused, through a link too', async (t) => {
    const refused = { code: 'INPUT_INVALID', hint: /container\.on-volume/ }
    await t.rejects(go(spec('new')), { ...refused, message: /^\/conf\/app\.conf is on a volume/ })
    const linked = spec('new', {}, '/linked/app.conf')
    await t.rejects(go(linked), { ...refused, message: /\/linked\/app\.conf is on a volume/ })
    t.equal(await content(), 'of before')
    t.equal(await host.inspect('volumes.next'), undefined)
  })

  const allowed = { onVolume: true }
  const dying = { ...allowed, env: { EXIT: '3' } }
  await t.test('an allowed file is placed once the old container has stopped', async (t) => {
    await go(spec('first', allowed))
    t.equal(await content(), 'first')
    let seen = ''
    const stop: Host['stop'] = async (id, seconds) => {
      seen = await content()
      await host.stop(id, seconds)
    }
    await go(spec('second', allowed, '/linked/app.conf'), { ...host, stop })
    t.equal(seen, 'first')
    t.equal(await content(), 'second')
  })

  await t.test('the file it replaced is restored with the old container', async (t) => {
    await chmod(path, 0o604)
    const old = await current()
    await t.rejects(go(spec('third', dying)), { message: /ended with exit code 3/ })
    t.equal(await content(), 'second')
    t.equal((await stat(path)).mode & 0o777, 0o604)
    t.match(await current(), { id: old?.id, running: true })
  })

  await t.test('after a deployer was killed, repair restores the file', async (t) => {
    const old = await current()
    // It creates the new container, stops the old one, places the file, and is dead.
    await t.rejects(go(spec('fourth', allowed), mortal(host, 3)), { message: /deployer is dead/ })
    t.equal(await content(), 'fourth')
    await repair(host, 'volumes', silentLog)
    t.equal(await content(), 'second')
    t.match(await current(), { id: old?.id, running: true })
    t.equal(await host.inspect('volumes.next'), undefined)
  })
}
