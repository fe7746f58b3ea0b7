import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import t from 'tap'
import { pack } from 'tar-stream'
import { parseAddress } from '../../../src/targets/docker/address.ts'
import { connectDocker } from '../../../src/targets/docker/driver.ts'
import { noEngine, startEngine } from '../../support/servers/engine.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { until } from '../../support/until.ts'

t.setTimeout(120_000)
const { signal } = new AbortController()

const PROGRAM = `public class Sleeper {
  public static void main(String[] words) throws Exception {
    System.out.println("sleeps");
    while (true) Thread.sleep(1000);
  }
}`

/** Nothing but the folders that this machine's own are mounted on. */
async function emptyRoot(): Promise<Readable> {
  const tar = pack()
  for (const name of ['usr/', 'etc/', 'program/', 'tmp/', 'proc/', 'sys/', 'dev/']) {
    tar.entry({ name, type: 'directory', mode: 0o1777 })
  }
  for (const name of ['lib', 'lib64', 'bin']) {
    tar.entry({ name, type: 'symlink', linkname: `usr/${name}` })
  }
  tar.finalize()
  return Readable.from(tar)
}

const skip = noEngine('java', 'javac', 'ps')
t.test('a Java virtual machine prints its threads, and goes on', { skip }, async (t) => {
  const engine = await startEngine()
  t.teardown(() => engine.stop())
  const { docker } = engine
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'Sleeper.java'), PROGRAM)
  const imported = await docker.importImage(await emptyRoot(), { repo: 'empty', tag: '1' })
  for await (const _event of imported) {
    // Its end says that the image is there.
  }
  const run = async (name: string, command: string[]) => {
    const container = await docker.createContainer({
      name,
      Image: 'empty:1',
      Cmd: command,
      HostConfig: {
        Binds: ['/usr:/usr:ro', '/etc:/etc:ro', `${folder}:/program:ro`],
        NetworkMode: 'none',
      },
    })
    await container.start()
    return container.id
  }
  const host = await connectDocker({
    name: 'app-01',
    address: parseAddress(engine.address),
    credentials: async () => undefined,
    signal,
  })
  t.teardown(() => host.close())
  const java = ['/usr/bin/java', '-Xmx64m', '/program/Sleeper.java']
  const ids = await Promise.all([
    run('direct', java),
    run('deaf', ['/usr/bin/java', '-Xrs', '-Xmx64m', '/program/Sleeper.java']),
    run('shell', ['/bin/sh', '-c', `${java.join(' ')}; echo never`]),
  ])
  const [direct = '', deaf = '', shell = ''] = ids
  t.ok(await until(async () => (await host.logs(direct, 5)).includes('sleeps')))
  for (const _time of ['first', 'second']) {
    const dump = await host.threadDump(direct, signal)
    t.match(dump[0], /^Full thread dump /)
    t.equal(dump.filter((line) => line.startsWith('"main" ')).length, 1, 'of this time alone')
    t.ok(dump.some((line) => /^JNI global ref/.test(line)))
  }
  await t.rejects(host.threadDump(deaf, signal), { code: 'CONFLICT', message: /-Xrs/ })
  await t.rejects(host.threadDump(shell, signal), { code: 'CONFLICT', message: /\/bin\/sh, not/ })
  for (const id of ids) t.match(await host.inspect(id), { running: true })
  await host.stop(direct, 1)
  await t.rejects(host.threadDump(direct, signal), { code: 'CONFLICT', message: /does not run/ })
})
