import type { ChildProcess } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { pack } from 'tar-stream'
import { parseAddress } from '../../../src/targets/docker/address.ts'
import { connectDocker } from '../../../src/targets/docker/driver.ts'
import { noEngine, startEngine } from '../../support/servers/engine.ts'
import { freeze } from '../../support/servers/freeze.ts'
import { importDemoImage } from '../../support/setups/demo-image.ts'

const SIZE = 32 * 1024 * 1024
const PATH = '/tmp/large'

t.test(
  'an archive takes its time, but for an engine that freezes',
  {
    skip: noEngine('gcc'),
  },
  async (t) => {
    const engine = await startEngine()
    t.teardown(() => engine.stop())
    const image = await importDemoImage(engine, 'demo', '1')
    const { id } = await engine.docker.createContainer({ Image: image })
    const large = pack()
    large.entry({ name: 'large' }, Buffer.alloc(SIZE))
    large.finalize()
    await engine.docker.getContainer(id).putArchive(Readable.from(large), { path: '/tmp' })
    const host = await connectDocker({
      name: 'app-01',
      address: parseAddress(engine.address),
      credentials: async () => undefined,
      signal: new AbortController().signal,
      archiveTimeout: 1000,
    })
    t.teardown(() => host.close())

    const slow = (await host.archive(id, PATH))[Symbol.asyncIterator]()
    let bytes = (await slow.next()).value.length
    // The engine waits for its reader all the while.
    await sleep(2500)
    for (let next = await slow.next(); !next.done; next = await slow.next()) {
      bytes += next.value.length
    }
    t.ok(bytes > SIZE, 'a slow reader has all of it')

    const frozen = await host.archive(id, PATH)
    const pid = Number(await readFile(join(dirname(engine.socket), 'pid'), 'utf8'))
    await freeze({ pid } as ChildProcess)
    try {
      const named = {
        code: 'UNAVAILABLE',
        message: `host app-01: reading ${PATH} of container ${id.slice(0, 12)}: nothing has come for 1 s`,
      }
      await t.rejects(buffer(frozen), named)
      await t.rejects(host.archive(id, PATH), named, 'nor does one begin')
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await t.rejects(host.archive(id, '/nothing'), { code: 'NOT_FOUND', message: /\/nothing/ })
  },
)
