import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { run } from '../../src/core/process/process.ts'
import { runtimes } from '../support/ci/nodes.ts'
import { DEMO_FOLDER } from '../support/folders.ts'
import { startEtcd } from '../support/servers/etcd.ts'
import { freePort } from '../support/servers/ports.ts'
import { missingProgram } from '../support/servers/server.ts'
import { startQueueRedis } from '../support/servers/webhooks.ts'

t.setTimeout(590_000)
const ROOT = join(import.meta.dirname, '../..')
/** Nothing listens there: whatever asks a registry fails. */
const NO_REGISTRY = { npm_config_registry: 'http://127.0.0.1:9/', npm_config_fetch_retries: '0' }

const folder = t.testdir({ prefix: {} })
const script = ['--import=./scripts/typescript.mjs', 'scripts/package.ts', '--out', folder]
const { stdout } = await run(process.execPath, script, { cwd: ROOT })
const [, file = '', sha512 = ''] = /^package: (.*)\nsha512: ([0-9a-f]{128})$/.exec(stdout) ?? []

await t.test('npm run package prints the path and the SHA-512 of the tarball', async (t) => {
  t.equal((await run('sha512sum', [file])).stdout.slice(0, 128), sha512)
})

await t.test('npm installs it without asking a registry', async (t) => {
  const prefix = join(folder, 'prefix')
  await run('npm', ['install', '--global', '--prefix', prefix, file], { env: NO_REGISTRY })
  const { stdout } = await run(join(prefix, 'bin/crosscloud'), ['--version'])
  t.match(stdout, /^\d+\.\d+\.\d+$/)
})

await run('tar', ['-xzf', file, '-C', folder])
const main = join(folder, 'package/dist/cli/main.cjs')

for (const { name, program, skip } of runtimes) {
  await t.test(`unpacked, it needs nothing beside ${name}`, { skip }, async (t) => {
    const cli = async (cwd: string, ...args: string[]) =>
      (await run(program, [main, ...args], { cwd })).stdout
    await t.test('SQLite and the file store work', async (t) => {
      const project = await makeProject(t, {})
      t.match(await cli(project, 'status'), 'Nothing was deployed yet.')
      t.ok((await readdir(join(project, '.crosscloud'))).includes('ledger.db'))
      t.match(await cli(project, 'config', 'lint'), /^0 errors/)
    })

    await t.test(
      'a config centre in etcd can be read',
      { skip: missingProgram('etcd', 'etcdctl') },
      async (t) => {
        const etcd = await startEtcd(t)
        const project = await makeProject(t, { config: `etcd://127.0.0.1:${etcd.port}` })
        const values = ['config', 'import', 'config/test.yaml', '--env', 'test', '--yes']
        await cli(project, ...values, '--reason', 'first values')
        t.match(await cli(project, 'render-config', '--env', 'test', '--check'), /complete|1 file/)
      },
    )

    const noRedis = missingProgram('redis-server', 'redis-cli')
    await t.test('the webhook server starts', { skip: noRedis }, async (t) => {
      const redis = await startQueueRedis(t)
      const cwd = t.testdir({})
      const port = await freePort()
      await writeFile(
        join(cwd, 'crosscloud.server.yml'),
        stringify({
          listen: { host: '127.0.0.1', port },
          queue: { redis: redis.url },
          github: { secrets: ['a-secret-of-the-test-1'], projects: ['team/*'] },
        }),
      )
      const server = spawn(program, [main, 'serve'], {
        cwd,
        env: { PATH: process.env.PATH },
      })
      t.teardown(() => server.kill('SIGKILL'))
      const listening = `listening on http://127.0.0.1:${port}`
      await new Promise<void>((resolve, reject) => {
        let printed = ''
        server.stdout.setEncoding('utf8').on('data', (chunk: string) => {
          printed += chunk
          if (printed.includes(listening)) resolve()
        })
        server.stderr.on('data', (chunk: Buffer) => {
          printed += chunk
        })
        server.once('exit', () => reject(new Error(`it ended: ${printed}`)))
      })
      const unsigned = await fetch(`http://127.0.0.1:${port}/webhooks/github`, { method: 'POST' })
      t.equal(unsigned.status, 401)
      server.kill('SIGTERM')
      await once(server, 'exit')
    })

    // On the Node that runs this, `npm run demo` does the same.
    if (program === process.execPath) return
    await t.test('the demo runs to its end', { skip: missingProgram('dockerd') }, async (t) => {
      const cwd = t.testdir({})
      const demo = [main, 'demo', '--json', '--folder', DEMO_FOLDER]
      const child = spawn(program, demo, { cwd, stdio: ['ignore', 'pipe', 'ignore'] })
      const proof = JSON.parse(await text(child.stdout))
      t.match(proof, { sameDigest: true, sameMd5: true, configDiffers: true, skipped: [] })
    })
  })
}

async function makeProject(t: Test, test: object): Promise<string> {
  const project = t.testdir({})
  await cp(join(folder, 'package/examples/webapi'), project, { recursive: true })
  if ('config' in test) {
    const settings = {
      app: 'webapi',
      image: { base: 'scratch', webapp: '/app', templates: 'deploy' },
      environments: { test: { image: 'registry.example.com/team/webapi', ...test } },
    }
    await writeFile(join(project, 'crosscloud.yml'), stringify(settings))
  }
  return project
}
