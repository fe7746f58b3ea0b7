import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { run } from '../../src/core/process/process.ts'
import { MORE, makeOwnedBase, PAGE, PROBE, PROBED } from '../e2e/base-owner.ts'
import { missingProgram } from '../support/servers/server.ts'
import { createDemo, type Demo } from '../support/setups/demo.ts'
import { bakeFiles } from '../support/setups/tomcat.ts'

t.setTimeout(580_000)
const made = missingProgram('podman', 'runc') || (await createDemo(t))
if (typeof made === 'string') await t.test('podman', { skip: made }, async () => {})
else {
  await t.test('in podman, too, folders of a base keep their owner and mode', (t) => probe(t, made))
}

async function probe(t: Test, demo: Demo): Promise<void> {
  const image = await bakeFiles(demo, PAGE, ['--base', await makeOwnedBase(demo), ...MORE])
  const folder = await mkdtemp(join(tmpdir(), 'crosscloud-test-'))
  t.teardown(async () => {
    // podman leaves its store mounted upon itself.
    await run('umount', ['--lazy', join(folder, 'root/overlay')]).catch(() => {})
    await rm(folder, { recursive: true, force: true })
  })
  const storage = ['--root', join(folder, 'root'), '--runroot', join(folder, 'run')]
  const podman = (...args: string[]) => run('podman', [...storage, '--runtime', 'runc', ...args])
  await podman('pull', '--quiet', '--tls-verify=false', image)
  const limits = ['--ulimit=nofile=1024:1024', '--ulimit=nproc=1024:1024']
  const alone = ['--rm', '--network=none', ...limits]
  const { stdout } = await podman('run', ...alone, image, 'sh', '-ec', PROBE)
  t.equal(stdout, PROBED)
}
