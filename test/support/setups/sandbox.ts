import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { createLog, type Log } from '../../../src/core/log.ts'
import { bakeImage } from '../../../src/steps/bake-image.ts'
import { runStep } from '../../../src/steps/inputs.ts'
import { pushImage } from '../../../src/steps/push-image.ts'
import { testContext } from '../context.ts'
import { writeWar } from '../data/war.ts'
import { type DockerRegistry, startDockerRegistry } from '../servers/docker-registry.ts'
import { startEngine, type TestEngine } from '../servers/engine.ts'
import { temporaryFolder } from '../temporary.ts'
import { publishDemoImage } from './demo-image.ts'

/** An application with a real engine and registry, and releases to deploy there. */
export interface Sandbox {
  folder: string
  engine: TestEngine
  repository: string
  /** Variables of the program: its home, its registry's password. */
  variables: Record<string, string>
  /** Writes crosscloud.yml. */
  configure(ledger: string, more?: string, container?: string): Promise<void>
  /** Bakes and pushes a release, and records it. */
  release(version: string, commit?: string, bake?: object): Promise<void>
  context(options?: { log?: Log }): ReturnType<typeof testContext>
  /** A file inside the container, undefined when it is not there. */
  read(container: string, path: string): Promise<string | undefined>
}

const USER = Buffer.from('alice:open-sesame').toString('base64')

/** What is not given is started for the test. */
interface SandboxServers {
  engine?: TestEngine
  registry?: DockerRegistry
}

/** Only where `noEngine('docker-registry', 'gcc')` is false. */
export async function createSandbox(t: Test, servers: SandboxServers = {}): Promise<Sandbox> {
  const folder = await temporaryFolder(t)
  const engine = servers.engine ?? (await startEngine())
  if (!servers.engine) t.teardown(() => engine.stop())
  const registry = servers.registry ?? (await startDockerRegistry())
  if (!servers.registry) t.teardown(() => registry.close())
  const base = await publishDemoImage(engine, `${registry.address}/base`, '1')
  const repository = `${registry.address}/team/webapi`
  const place = async (path: string, text: string) => {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  await place('config/test.yaml', 'webapi:\n  greeting: hello\n')
  await place(
    'deploy/conf.d/app.toml',
    '[template]\nsrc = "app.hbs"\ndest = "/tmp/app.properties"\nkeys = ["/webapi"]\n',
  )
  await place('deploy/templates/app.hbs', 'greeting={{getv "/webapi/greeting"}}\n')
  await place(
    '.docker/config.json',
    JSON.stringify({ auths: { [registry.address]: { auth: USER } } }),
  )
  const variables = {
    HOME: folder,
    DOCKER_CONFIG: join(folder, '.docker'),
    CROSSCLOUD_CACHE: join(folder, '.cache'),
    CROSSCLOUD_STATE: join(folder, '.state'),
  }
  const sandbox: Sandbox = {
    folder,
    engine,
    repository,
    variables,
    configure: (ledger, more = '', container = '') =>
      place(
        'crosscloud.yml',
        [
          'app: webapi',
          `image: { base: "${base}", webapp: /srv/web, templates: deploy }`,
          `ledger: ${ledger}`,
          `registries: { insecure: ["${registry.address}"] }`,
          `container: { ports: ["127.0.0.1::8080"], stop-timeout: 1s, health: { http: ":8080/", timeout: 20s }, ${container} }`,
          'environments:',
          `  test: { image: "${repository}", config: "file:config/test.yaml", hosts: { app-01: "${engine.address}" } }`,
          more,
        ].join('\n'),
      ),
    async release(version, commit, bake = {}) {
      const war = join(folder, `${version}.war`)
      await writeWar(war, { 'index.html': `<h1>webapi ${version}</h1>`, 'WEB-INF/web.xml': '<x/>' })
      const context = sandbox.context()
      const { imageFolder } = await runStep(bakeImage, { war, version, commit, ...bake }, context)
      await runStep(pushImage, { imageFolder, to: repository }, context)
      await context.close()
    },
    context: (options = {}) => testContext(t, folder, { variables, ...options }),
    async read(container, path) {
      const id = (await engine.docker.listContainers({ all: true, filters: { name: [container] } }))
        .map(({ Id, Names }) => ({ Id, Names }))
        .find(({ Names }) => Names.includes(`/${container}`))?.Id
      if (id === undefined) return undefined
      const { extract } = await import('tar-stream')
      const stream = await engine.docker.getContainer(id).getArchive({ path })
      for await (const entry of stream.pipe(extract())) {
        const chunks: Buffer[] = []
        for await (const chunk of entry) chunks.push(chunk as Buffer)
        return Buffer.concat(chunks).toString()
      }
      return undefined
    },
  }
  return sandbox
}

/** A log whose lines can be looked at. */
export function listen() {
  const lines: string[] = []
  const log = createLog({
    format: 'plain',
    write: (text) => lines.push(text),
    mask: (text) => text,
    verbose: false,
  })
  return { log, text: () => lines.join('') }
}
