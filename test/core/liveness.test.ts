import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { forgetLiving, isOver, showLiving } from '../../src/core/process/liveness.ts'
import { freeze } from '../support/servers/freeze.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { TYPESCRIPT } from '../support/typescript.ts'

const MODULE = fileURLToPath(new URL('../../src/core/process/liveness.ts', import.meta.url))

/** A process that shows itself; in a PID namespace of its own when `wrapper` says so. */
async function startShown(folder: string, wrapper: string[] = []): Promise<ChildProcess> {
  const script = `
    import { showLiving } from ${JSON.stringify(MODULE)}
    await showLiving(${JSON.stringify(folder)}, 'lock 7')
    console.log('shown')
    setTimeout(() => {}, 60_000)`
  const node = [process.execPath, '--import', TYPESCRIPT, '--input-type=module', '-e', script]
  const [program = '', ...args] = [...wrapper, ...node]
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout ?? child, 'data')
  return child
}

await t.test('a process has ended once it was killed, and not before', async (t) => {
  const folder = join(await temporaryFolder(t), 'locks')
  t.equal(
    await isOver(folder, 'lock 7'),
    false,
    'nothing is known of a process that never showed itself',
  )
  const child = await startShown(folder)
  const ended = once(child, 'exit')
  t.equal(await isOver(folder, 'lock 7'), false, 'it lives')
  t.equal(await isOver(folder, 'lock 8'), false, 'another subject')
  await freeze(child)
  t.equal(await isOver(folder, 'lock 7'), false, 'it is only stopped')
  child.kill('SIGKILL')
  await ended
  t.equal(await isOver(folder, 'lock 7'), true)
  t.equal(await isOver(folder, 'lock 7'), true, 'asking changes nothing')
  const copy = `${folder}-copy`
  await cp(folder, copy, { recursive: true, filter: (from) => from === folder })
  t.equal(await isOver(copy, 'lock 7'), false, 'a copy of the disk knows nothing of it')
  await forgetLiving(folder, 'lock 7')
  t.equal(await isOver(folder, 'lock 7'), false)
  t.same(await readdir(folder), [])
})

const unshared = ['unshare', '--pid', '--fork', '--kill-child']
const noNamespace = process.getuid?.() !== 0 && 'needs root to make a PID namespace'
await t.test('a process in another PID namespace is seen', { skip: noNamespace }, async (t) => {
  const folder = await temporaryFolder(t)
  const child = await startShown(folder, unshared)
  const ended = once(child, 'exit')
  t.equal(await isOver(folder, 'lock 7'), false)
  child.kill('SIGKILL')
  await ended
  // --kill-child: the kernel kills the child when its parent is gone.
  for (let tries = 0; tries < 100 && !(await isOver(folder, 'lock 7')); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  t.equal(await isOver(folder, 'lock 7'), true)
})

await t.test(
  'a process that ends its liveness is over, and removes or leaves the file',
  async (t) => {
    const folder = await temporaryFolder(t)
    const shown = await showLiving(folder, 'lock 1')
    t.equal(await isOver(folder, 'lock 1'), false)
    await shown.end('removed')
    t.same(await readdir(folder), [])
    const left = await showLiving(folder, 'lock 2')
    await left.end('left')
    t.equal(await isOver(folder, 'lock 2'), true)
  },
)

await t.test('where liveness cannot be shown, no process counts as ended', async (t) => {
  const folder = join(await temporaryFolder(t), 'x'.repeat(100))
  await mkdir(folder)
  await (await showLiving(folder, 'lock 1')).end('left')
  t.equal(await isOver(folder, 'lock 1'), false, 'the path is too long for a socket')
  const file = join(await temporaryFolder(t), 'file')
  await writeFile(file, '')
  await t.rejects(showLiving(file, 'lock 1'), { code: 'EEXIST' })
})
