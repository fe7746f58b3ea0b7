import { copyFile, mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { run } from '../../src/core/process/process.ts'
import { testContext } from '../support/context.ts'
import { writeWar } from '../support/data/war.ts'
import { dockerRegistryUser, startDockerRegistry } from '../support/servers/docker-registry.ts'
import { startEngine } from '../support/servers/engine.ts'
import { findProgram } from '../support/servers/server.ts'
import { listen } from '../support/setups/sandbox.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** An exploded WAR, by a stage that is left behind. */
export const DOCKERFILE = `ARG BASE
FROM \${BASE} AS unpacked
ARG WAR
COPY \${WAR} /tmp/app.war
RUN mkdir -p /srv/ROOT && unzip -q /tmp/app.war -d /srv/ROOT
FROM \${BASE}
ARG GREETING=none
LABEL org.opencontainers.image.source=https://git.test/webapi greeting=\${GREETING}
COPY --from=unpacked /srv/ROOT /srv/ROOT
COPY notes /srv/notes
`

/** A project with a Dockerfile of its own, an engine, and a registry that wants a password. */
export async function dockerProject(t: Test, options: { buildKit?: boolean } = {}) {
  const folder = await temporaryFolder(t)
  const engine = await startEngine(options)
  t.teardown(() => engine.stop())
  const registry = await startDockerRegistry({ htpasswd: true })
  t.teardown(() => registry.close())
  const place = async (path: string, text: string) => {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  const { username, password } = dockerRegistryUser
  const auth = Buffer.from(`${username}:${password}`).toString('base64')
  await place('.docker/config.json', JSON.stringify({ auths: { [registry.address]: { auth } } }))
  const env = { DOCKER_CONFIG: join(folder, '.docker'), DOCKER_BUILDKIT: '0' }
  const docker = async (...args: string[]) =>
    (await run('docker', ['-H', engine.address, ...args], { env })).stdout
  const base = `${registry.address}/base:1`
  const baseDigest = await makeBase(join(folder, 'root'), base, docker)
  await place('Dockerfile', DOCKERFILE)
  await place('.dockerignore', '*\n!notes\nnotes/*\n!notes/kept\n')
  await place('notes/kept', 'kept')
  await place('notes/secret', 'not to be sent')
  await place('config/test.yaml', 'webapi: {}\n')
  await place('config/staging.yaml', 'webapi: {}\n')
  const war = (greeting: string) =>
    writeWar(join(folder, 'target/webapi.war'), {
      'WEB-INF/web.xml': '<web-app/>',
      'index.html': greeting,
      'WEB-INF/lib/a.jar': 'a jar, as far as this goes',
    })
  await mkdir(join(folder, 'target'))
  await war('hello')
  const environment = (name: string, more: object) => ({
    image: `${registry.address}/${name}/webapi`,
    config: `file:config/${name}.yaml`,
    hosts: { 'app-01': engine.address },
    ...more,
  })
  const configure = (image: object = {}) =>
    place(
      'crosscloud.yml',
      JSON.stringify({
        app: 'webapi',
        war: { path: 'target/webapi.war' },
        image: {
          builder: 'docker',
          webapp: '/srv/ROOT',
          engine: engine.address,
          args: { BASE: base, GREETING: 'hi' },
          ...image,
        },
        ledger: 'sqlite:ledger.db',
        registries: { insecure: [registry.address] },
        container: {
          ports: ['127.0.0.1::8080'],
          'stop-timeout': '1s',
          health: { http: ':8080/ok' },
        },
        environments: {
          test: environment('test', {}),
          staging: environment('staging', { from: 'test' }),
        },
      }),
    )
  await configure()
  const open = (options: { signal?: AbortSignal } = {}) => {
    const heard = listen()
    const variables = { CROSSCLOUD_STATE: join(folder, '.state') }
    return { context: testContext(t, folder, { variables, log: heard.log, ...options }), heard }
  }
  return { folder, baseDigest, docker, place, war, configure, open }
}

export type DockerProject = Awaited<ReturnType<typeof dockerProject>>

/** Busybox, pushed, and forgotten by the engine, which must pull it with the password. */
async function makeBase(
  root: string,
  name: string,
  docker: (...args: string[]) => Promise<string>,
): Promise<string> {
  for (const path of ['bin', 'tmp']) await mkdir(join(root, path), { recursive: true })
  await copyFile(findProgram('busybox') ?? '', join(root, 'bin/busybox'))
  const commands = ['sh', 'cat', 'mkdir', 'unzip', 'sleep', 'rm', 'httpd']
  for (const command of commands) await symlink('busybox', join(root, 'bin', command))
  await writeFile(join(root, 'ok'), 'ok')
  await run('tar', ['-C', root, '-cf', `${root}.tar`, '.'])
  const changes = ['-c', 'CMD ["httpd", "-f", "-p", "8080", "-h", "/"]', '-c', 'ENV PATH=/bin']
  await docker('import', ...changes, `${root}.tar`, name)
  await docker('push', '--quiet', name)
  const digests = await docker('image', 'inspect', name, '-f', '{{.RepoDigests}}')
  await docker('rmi', name)
  return /sha256:\w+/.exec(digests)?.[0] ?? ''
}
