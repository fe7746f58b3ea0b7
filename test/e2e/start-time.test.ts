import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import { run } from '../../src/core/process.ts'
import { bakeImage } from '../../src/steps/bake-image.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { pushImage } from '../../src/steps/push-image.ts'
import { testContext } from '../support/context.ts'
import { startDockerRegistry } from '../support/docker-registry.ts'
import { noEngine, startEngine } from '../support/engine.ts'
import { writeSample } from '../support/layers.ts'
import { freePort } from '../support/ports.ts'
import { findProgram, startServer } from '../support/server.ts'
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

const skip = noEngine('docker-registry', 'busybox', 'redis-server', 'redis-cli')

t.test('an image that renders its config when it starts', { skip }, async (t) => {
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
  const docker = (...args: string[]) => run('docker', ['-H', engine.address, ...args])

  const root = join(folder, 'root')
  for (const path of ['bin', 'tmp', 'usr/bin']) await mkdir(join(root, path), { recursive: true })
  await run('cp', [findProgram('busybox') ?? '', join(root, 'bin/busybox')])
  for (const name of ['sh', 'nc', 'sed', 'cat']) await symlink('busybox', join(root, 'bin', name))
  await run('tar', ['-C', root, '-cf', join(folder, 'base.tar'), '.'])
  const base = `${registry.address}/base:1`
  const command = 'CMD ["cat", "/etc/webapi.properties"]'
  await docker(
    'import',
    '-c',
    command,
    '-c',
    'ENV PATH=/usr/local/bin:/bin',
    join(folder, 'base.tar'),
    base,
  )
  await docker('push', '--quiet', base)

  await writeSample(join(folder, 'webapi.war'))
  for (const [path, text] of Object.entries({
    'vendor/confd': CONFD,
    'deploy/start.sh': START,
    'deploy/confd/conf.d/webapi.sh': 'key=/webapi/greeting dest=/etc/webapi.properties\n',
  })) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  for (const path of ['vendor/confd', 'deploy/start.sh']) await chmod(join(folder, path), 0o755)
  const context = testContext(t, folder)
  const add = [
    'vendor/confd:/usr/local/bin/confd',
    'deploy/start.sh:/usr/local/bin/start',
    'deploy/confd:/etc/confd',
  ]
  const inputs = {
    app: 'webapi',
    war: 'webapi.war',
    base,
    webapp: '/srv/ROOT',
    add,
    startScript: true,
  }
  const { warMd5 } = await runStep(
    bakeImage,
    { ...inputs, entrypoint: ['/usr/local/bin/start'] },
    context,
  )
  const pushed = await runStep(
    pushImage,
    { to: `${registry.address}/webapi`, tag: '1', record: false },
    context,
  )

  const start = () =>
    docker('run', '--rm', '--network', 'host', '-e', `CONFIG_NODE=127.0.0.1:${port}`, pushed.image)
  const empty = await start().catch((error: Error) => error.message)
  t.match(empty, /key does not exist: \/webapi\/greeting/)
  await redisCli('set', '/webapi/greeting', 'good morning')
  const told = `webapi (no version), WAR MD5 ${warMd5}`
  t.equal((await start()).stdout, `${told}\ngreeting=good morning`)
  await redisCli('set', '/webapi/greeting', 'good night')
  t.equal(
    (await start()).stdout,
    `${told}\ngreeting=good night`,
    'the same image, the value of now',
  )
})
