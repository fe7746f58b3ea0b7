import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { type Finished, type Running, runCli, startCli } from '../support/cli.ts'
import { writeWar } from '../support/data/war.ts'
import { startDockerRegistry } from '../support/servers/docker-registry.ts'
import { startEngine, type TestEngine } from '../support/servers/engine.ts'
import { startMariadb } from '../support/servers/mariadb.ts'
import { type CuttingProxy, startCuttingProxy } from '../support/servers/proxies/cutting-proxy.ts'
import { publishDemoImage } from '../support/setups/demo-image.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** Servers that old and new programs share. */
export interface World {
  engine: TestEngine
  registry: string
  /** The image that releases are baked on. */
  base: string
  ledgers: { sqlite: string; mariadb: string }
  /** Before the database of `ledgers.mariadb`. */
  proxy: CuttingProxy
}

export async function buildWorld(t: Test): Promise<World> {
  const [engine, registry, mariadb] = await Promise.all([
    startEngine(),
    startDockerRegistry(),
    startMariadb(t),
  ])
  t.teardown(() => engine.stop())
  t.teardown(() => registry.close())
  await mariadb.query('create database ledger')
  await mariadb.query("create user 'crosscloud'@'%' identified by 'secret'")
  await mariadb.query("grant all on ledger.* to 'crosscloud'@'%'")
  const proxy = await startCuttingProxy(t, mariadb.port)
  return {
    engine,
    registry: registry.address,
    base: await publishDemoImage(engine, `${registry.address}/base`, '1'),
    ledgers: {
      sqlite: 'sqlite:ledger.db',
      mariadb: `mysql://crosscloud:secret@127.0.0.1:${proxy.port}/ledger`,
    },
    proxy,
  }
}

/** One of the programs that work on a project. */
export interface Deployer {
  run(...args: string[]): Promise<Finished>
  start(...args: string[]): Running
  /** What a command prints with --json; fails when the command does. */
  json(...args: string[]): Promise<Record<string, unknown>>
}

/** An application with a ledger of its own, as a team has it in a checkout. */
export interface Project {
  app: string
  /** The home of the person who deploys. */
  home: string
  /** The values of the environment `test`. */
  greet(greeting: string): Promise<void>
  war(version: string): Promise<string>
  deployer(program?: string): Deployer
}

export async function makeProject(
  t: Test,
  world: World,
  app: string,
  ledger: string,
): Promise<Project> {
  const folder = await temporaryFolder(t)
  const place = async (path: string, text: string) => {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  const greet = (greeting: string) =>
    place('config/test.yaml', `webapi:\n  greeting: ${greeting}\n`)
  await greet('hello')
  await place(
    'deploy/conf.d/app.toml',
    '[template]\nsrc = "app.hbs"\ndest = "/tmp/app.properties"\nkeys = ["/webapi"]\n',
  )
  await place('deploy/templates/app.hbs', 'greeting={{getv "/webapi/greeting"}}\n')
  await place('crosscloud.yml', settingsOf(world, app, ledger))
  // The same person on the same machine, whichever version is used.
  const home = await temporaryFolder(t)
  const env = {
    HOME: home,
    DOCKER_CONFIG: join(home, '.docker'),
    XDG_CACHE_HOME: join(home, '.cache'),
    CROSSCLOUD_CACHE: join(home, 'layers'),
    CROSSCLOUD_STATE: join(home, 'state'),
  }
  return {
    app,
    home,
    greet,
    async war(version) {
      const war = join(folder, `${version}.war`)
      const page = `<h1>${app} ${version}</h1>`
      await writeWar(war, { 'index.html': page, 'WEB-INF/web.xml': '<web-app/>' })
      return war
    },
    deployer(program) {
      const options = { cwd: folder, env, ...(program !== undefined && { program }) }
      const run = (...args: string[]) => runCli(args, options)
      return {
        run,
        start: (...args) => startCli(args, options),
        async json(...args) {
          const { code, stdout, stderr } = await run(...args, '--json')
          if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}:\n${stderr}`)
          return JSON.parse(stdout) as Record<string, unknown>
        },
      }
    },
  }
}

function settingsOf({ base, registry, engine }: World, app: string, ledger: string): string {
  return [
    `app: ${app}`,
    `image: { base: "${base}", webapp: /srv/web, templates: deploy }`,
    `ledger: ${ledger}`,
    `registries: { insecure: ["${registry}"] }`,
    'container: { ports: ["127.0.0.1::8080"], stop-timeout: 1s, health: { http: ":8080/", timeout: 20s } }',
    'environments:',
    `  test: { image: "${registry}/team/${app}", config: "file:config/test.yaml", hosts: { app-01: "${engine.address}" } }`,
    '',
  ].join('\n')
}
