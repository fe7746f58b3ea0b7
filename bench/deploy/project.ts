import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createContext } from '../../src/context.ts'
import { silentLog } from '../../src/core/log.ts'
import { createSecrets } from '../../src/core/secrets.ts'
import { prepareBaseRootfs } from '../../src/demo/base-image.ts'
import { pushBase } from '../../src/demo/base-push.ts'
import { parseReference } from '../../src/registry/reference.ts'
import { DEMO_FOLDER } from '../../test/support/folders.ts'
import { catalinaProperties, openApplication, SERVER_XML } from './application.ts'
import { type CommandLine, commandLine } from './command-line.ts'
import type { BenchHost } from './hosts.ts'

/** Ports of the host: of the slots, of a container without, of the proxy in the Swarm. */
export const PORTS = { slots: [18081, 18082], plain: 18090, swarm: 18091 } as const
export const RELEASES = ['1.0.0', '2.0.0'] as const

export interface Project {
  host: BenchHost
  /** By release: the image, by digest. */
  images: string[]
  /** Folders that both slots see: the ids of executed requests, and sessions. */
  counts: string
  sessions: string
  cli: CommandLine
  /** Writes `proxy:` of the environment `slots`. */
  useProxy(proxy: object | undefined): Promise<void>
}

/** A project whose two releases are in the registry, with the environments `slots` and `plain`. */
export async function makeProject(
  folder: string,
  registry: string,
  host: BenchHost,
): Promise<Project> {
  const { engine, address, name } = host
  const [counts, sessions] = [join(folder, 'counts'), join(folder, 'sessions')]
  for (const path of [counts, sessions, join(folder, 'tomcat')]) await mkdir(path)
  const base = await prepareBaseRootfs(DEMO_FOLDER, silentLog)
  const tomcat = `${registry}/library/tomcat:1`
  const hosts = { [name]: { address: engine, bind: address } }
  const image = `${registry}/team/orders`
  const [first, second] = PORTS.slots
  const settings = {
    app: 'orders',
    image: {
      base: tomcat,
      webapp: base.webapp,
      add: {
        'tomcat/server.xml': '/etc/tomcat10/server.xml',
        'tomcat/catalina.properties': '/etc/tomcat10/catalina.properties',
      },
    },
    ledger: `sqlite:${join(folder, 'ledger.db')}`,
    registries: { insecure: [registry] },
    container: {
      volumes: [`${counts}:/counts`, `${sessions}:/sessions`],
      'stop-timeout': '40s',
      health: { http: ':8080/health', timeout: '120s' },
    },
    environments: {
      slots: { image, hosts, container: { slots: [`${first}:8080`, `${second}:8080`] } },
      plain: { image, hosts, container: { ports: [`${PORTS.plain}:8080`] } },
    },
  }
  await writeFile(join(folder, 'tomcat/server.xml'), SERVER_XML)
  const properties = await catalinaProperties(base.layerPath)
  await writeFile(join(folder, 'tomcat/catalina.properties'), properties)
  const useProxy = (proxy: object | undefined) => {
    const slots = { ...settings.environments.slots, proxy }
    const environments = { ...settings.environments, slots }
    // JSON is YAML.
    const text = JSON.stringify({ ...settings, environments }, null, 2)
    return writeFile(join(folder, 'crosscloud.yml'), text)
  }
  await useProxy(undefined)
  await putBase(folder, base, tomcat)
  const cli = commandLine(folder)
  const makeWar = await openApplication(folder)
  const images: string[] = []
  for (const version of RELEASES) {
    await makeWar(join(folder, 'orders.war'), version)
    await cli('bake-image', '--war', 'orders.war', '--version', version)
    const { output } = await cli('push-image', '--to', image, '--json')
    images.push((JSON.parse(output) as { image: string }).image)
  }
  return { host, images, counts, sessions, cli, useProxy }
}

type Base = Awaited<ReturnType<typeof prepareBaseRootfs>>

async function putBase(cwd: string, base: Base, reference: string): Promise<void> {
  const { signal } = new AbortController()
  const options = { cwd, variables: {}, log: silentLog, secrets: createSecrets(), signal }
  const context = createContext(options)
  await pushBase(await context.registry(), base, parseReference(reference), silentLog)
  await context.close()
}

export const deploy = ({ cli }: Project, env: string, version: string) =>
  cli(
    ...['deploy', '--release', `orders@${version}`, '--env', env],
    ...['--older', '--force', '--reason', 'bench'],
  )
export const rollback = ({ cli }: Project) => cli('rollback', '--env', 'slots', '--reason', 'bench')

/** Takes every container off the host: what is measured next has the machine for itself. */
export async function clear({ host }: Project): Promise<void> {
  const containers = await host.docker('ps', '--all', '--quiet')
  const ids = containers.split('\n').filter(Boolean)
  if (ids.length > 0) await host.docker('rm', '--force', '--volumes', ...ids)
}
