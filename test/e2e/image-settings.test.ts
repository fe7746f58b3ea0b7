import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { run } from '../../src/core/process/process.ts'
import { bakeImage } from '../../src/steps/bake-image.ts'
import { deploy } from '../../src/steps/deploy.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { pushImage } from '../../src/steps/push-image.ts'
import { verifyMd5 } from '../../src/steps/verify-md5.ts'
import { testContext } from '../support/context.ts'
import { writeSample } from '../support/data/layers.ts'
import { startDockerRegistry } from '../support/servers/docker-registry.ts'
import { noEngine, startEngine } from '../support/servers/engine.ts'
import { freePort } from '../support/servers/ports.ts'
import { findProgram, startServer } from '../support/servers/server.ts'
import { temporaryFolder } from '../support/temporary.ts'

/**
 * Stands in for the confd binary, which Debian does not package: the same command line, one value
 * read from a real Redis, one file written.
 */
const CONFD = `#!/bin/sh
[ "$*" = "-onetime -backend redis -node $CONFIG_NODE -confdir /etc/confd" ] || exit 64
. /etc/confd/conf.d/webapi.sh
value=$(printf 'GET %s\\r\\nQUIT\\r\\n' "$key" | nc "\${CONFIG_NODE%:*}" "\${CONFIG_NODE#*:}" | sed -n '1{/-1/q};2{s/\\r//p}')
[ -n "$value" ] || { echo "key does not exist: $key" >&2; exit 1; }
echo "greeting=$value" > "$dest"
`
const START = `#!/bin/sh
set -e
confd -onetime -backend redis -node "$CONFIG_NODE" -confdir /etc/confd
exec "$@"
`
const files: Record<string, string> = {
  'vendor/confd': CONFD,
  'deploy/start.sh': START,
  'deploy/confd/conf.d/webapi.sh': 'key=/webapi/greeting dest=/etc/webapi.properties\n',
  'deploy/conf.d/app.toml':
    '[template]\nsrc = "app.hbs"\ndest = "/etc/app.properties"\nkeys = ["/webapi"]\n',
  'deploy/templates/app.hbs': 'greeting={{getv "/webapi/greeting"}}\n',
  'config/test.yaml': 'webapi:\n  greeting: hello\n',
}
/** What docs/config.md says under "Rendering at container start". */
const add = {
  'vendor/confd': '/usr/local/bin/confd',
  'deploy/start.sh': '/usr/local/bin/start',
  'deploy/confd': '/etc/confd',
}
const START_COMMAND = ['/usr/local/bin/start']

const skip = noEngine('docker-registry', 'busybox', 'redis-server', 'redis-cli')
await t.test('the settings of an image', { skip }, async (t) => {
  const folder = await temporaryFolder(t)
  const engine = await startEngine()
  t.teardown(() => engine.stop())
  const registry = await startDockerRegistry()
  t.teardown(() => registry.close())
  const port = await freePort()
  const redisCli = (...args: string[]) => run('redis-cli', ['-p', String(port), ...args])
  const flags = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder]
  const redis = await startServer('redis-server', flags, { ready: () => redisCli('ping') })
  t.teardown(() => redis.stop())
  const docker = async (...args: string[]) =>
    (await run('docker', ['-H', engine.address, ...args])).stdout

  const busybox = findProgram('busybox') ?? ''
  const root = join(folder, 'root')
  for (const path of ['bin', 'tmp', 'usr/bin']) await mkdir(join(root, path), { recursive: true })
  await copyFile(busybox, join(root, 'bin/busybox'))
  const commands = ['sh', 'nc', 'sed', 'cat', 'rm']
  for (const name of commands) await symlink('busybox', join(root, 'bin', name))
  await run('tar', ['-C', root, '-cf', join(folder, 'base.tar'), '.'])
  /** A base whose containers run this command. */
  const makeBase = async (tag: string, command: string[]) => {
    const base = `${registry.address}/base:${tag}`
    const changes = [`CMD ${JSON.stringify(command)}`, 'ENV PATH=/usr/local/bin:/bin']
    const flags = changes.flatMap((change) => ['-c', change])
    await docker('import', ...flags, join(folder, 'base.tar'), base)
    await docker('push', '--quiet', base)
    return base
  }
  await writeSample(join(folder, 'webapi.war'))
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  for (const path of ['vendor/confd', 'deploy/start.sh']) await chmod(join(folder, path), 0o755)

  await t.test('an image with an entrypoint of its own renders its config at start', async (t) => {
    const context = testContext(t, folder)
    const { warMd5 } = await runStep(
      bakeImage,
      {
        app: 'webapi',
        war: 'webapi.war',
        base: await makeBase('1', ['cat', '/etc/webapi.properties']),
        webapp: '/srv/ROOT',
        add: Object.entries(add).map(([from, to]) => `${from}:${to}`),
        entrypoint: START_COMMAND,
        startScript: true,
      },
      context,
    )
    const pushed = await runStep(
      pushImage,
      { to: `${registry.address}/webapi`, tag: '1', record: false },
      context,
    )
    const node = `CONFIG_NODE=127.0.0.1:${port}`
    const start = () => docker('run', '--rm', '--network', 'host', '-e', node, pushed.image)
    const empty = await start().catch((error: Error) => error.message)
    t.match(empty, /key does not exist: \/webapi\/greeting/)
    await redisCli('set', '/webapi/greeting', 'good morning')
    const banner = `webapi (no version), WAR MD5 ${warMd5}`
    t.equal(await start(), `${banner}\ngreeting=good morning`)
    await redisCli('set', '/webapi/greeting', 'good night')
    t.equal(await start(), `${banner}\ngreeting=good night`, 'the same image, the value of now')
  })

  const serve = ['/bin/busybox', 'httpd', '-f', '-p', String(await freePort()), '-h', '/']
  const base = await makeBase('2', serve)
  const image = { base, webapp: '/srv/ROOT' }
  const inside = { 'deploy/templates': '/srv/ROOT/templates' }
  const table: Record<string, { image: object; exploded?: object; reads: Record<string, string> }> =
    {
      'base and webapp': { image, reads: {} },
      'templates, additions, entrypoint and start script': {
        image: {
          ...image,
          templates: 'deploy',
          add,
          entrypoint: START_COMMAND,
          writable: ['/etc/webapi.properties'],
          'start-script': true,
        },
        exploded: { add: { ...add, ...inside } },
        reads: {
          '/usr/local/bin/confd': CONFD,
          '/etc/confd/conf.d/webapi.sh': String(files['deploy/confd/conf.d/webapi.sh']),
          '/etc/webapi.properties': 'greeting=good day\n',
          '/etc/app.properties': 'greeting=hello\n',
        },
      },
      'a base of nothing, and a program beside the WAR': {
        image: {
          base: 'scratch',
          webapp: '/srv/ROOT/',
          add: { [busybox]: '/bin/busybox' },
          entrypoint: serve,
        },
        reads: {},
      },
    }
  let version = 0
  /** From crosscloud.yml to a container that was compared. */
  const deliver = async (t: Test, image: object) => {
    const container = {
      network: 'host',
      'stop-timeout': '1s',
      health: { http: `:${serve[4]}/bin/busybox` },
      env: { CONFIG_NODE: `127.0.0.1:${port}` },
    }
    const environment = {
      image: `${registry.address}/team/webapi`,
      config: 'file:config/test.yaml',
      hosts: { 'app-01': engine.address },
    }
    const registries = { insecure: [registry.address] }
    const war = { path: 'webapi.war' }
    const all = { app: 'webapi', war, image, registries, container, ledger: 'sqlite:ledger.db' }
    await writeFile(
      join(folder, 'crosscloud.yml'),
      JSON.stringify({ ...all, environments: { test: environment } }),
    )
    const variables = { CROSSCLOUD_STATE: join(folder, '.state') }
    const context = testContext(t, folder, { variables })
    await runStep(bakeImage, { version: `1.0.${version++}` }, context)
    const { release = '' } = await runStep(pushImage, {}, context)
    await runStep(deploy, { release, env: 'test' }, context)
    return { verify: () => runStep(verifyMd5, { env: 'test' }, context) }
  }
  await redisCli('set', '/webapi/greeting', 'good day')
  for (const layout of ['exploded', 'packaged']) {
    for (const [what, row] of Object.entries(table)) {
      await t.test(`${layout}, ${what}: baked, pushed, deployed and verified`, async (t) => {
        const more = layout === 'exploded' ? row.exploded : {}
        const { verify } = await deliver(t, { ...row.image, ...more, layout })
        await verify()
        for (const [path, content] of Object.entries(row.reads)) {
          t.equal(`${await docker('exec', 'webapi-test', 'cat', path)}\n`, content, path)
        }
      })
    }
    await t.test(`${layout}: a file beside the WAR that was changed is found`, async (t) => {
      const writable = ['/etc/webapi.properties']
      const more = { add, layout, writable, entrypoint: START_COMMAND }
      const { verify } = await deliver(t, { ...image, ...more })
      const sh = (script: string) => docker('exec', 'webapi-test', 'sh', '-c', script)
      await sh('echo "# more" >> /usr/local/bin/confd; rm /etc/confd/conf.d/webapi.sh')
      await t.rejects(verify(), {
        code: 'VERIFY_FAILED',
        message:
          /changed {2}\/usr\/local\/bin\/confd\n *missing {2}\/etc\/confd\/conf\.d\/webapi\.sh$/,
      })
    })
  }
})
