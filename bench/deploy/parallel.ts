import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeWar } from '../../test/support/data/war.ts'
import { publishDemoImage } from '../../test/support/setups/demo-image.ts'
import { commandLine } from './command-line.ts'
import type { BenchHost } from './hosts.ts'
import type { Stage } from './stage.ts'

const MANY = 8
/** Seconds a container sleeps before it listens. */
const SLEEP = 5
const ENVIRONMENTS = { one: 1, many: MANY }

/** How much longer eight hosts at once take than one, whole commands. */
export async function measureParallel(stage: Stage, first: BenchHost) {
  const hosts = [first]
  while (hosts.length < MANY) hosts.push(await stage.addHost())
  const cli = await makeProject(await stage.makeFolder('sleepers'), stage.registry, hosts)
  const measure = async (env: keyof typeof ENVIRONMENTS) => {
    const deploy = (...more: string[]) =>
      cli('deploy', '--release', 'sleeper@1.0.0', '--env', env, '--reason', 'bench', ...more)
    // The first one pulls the image, and has nothing to stop.
    await deploy()
    const { took } = await deploy()
    return took
  }
  const [one, many] = [await measure('one'), await measure('many')]
  return { hosts: MANY, one, many, ratio: many / one }
}

async function makeProject(folder: string, registry: string, hosts: readonly BenchHost[]) {
  const [first] = hosts
  if (!first) throw new Error('no host')
  const base = await publishDemoImage({ docker: first.api }, `${registry}/library/sleeper`, '1')
  const image = `${registry}/team/sleeper`
  const environmentOf = ([name, count]: [string, number], index: number) => {
    const chosen = hosts.slice(0, count).map(({ name, engine, address }) => {
      return [name, { address: engine, bind: address }]
    })
    const container = { ports: [`${18100 + index}:8080`] }
    return [name, { image, hosts: Object.fromEntries(chosen), container }]
  }
  const settings = {
    app: 'sleeper',
    image: { base, webapp: '/srv/web' },
    ledger: `sqlite:${join(folder, 'ledger.db')}`,
    registries: { insecure: [registry] },
    rollout: { parallel: MANY },
    container: {
      env: { SLOW: String(SLEEP) },
      'stop-timeout': '1s',
      health: { http: ':8080/', timeout: '60s' },
    },
    environments: Object.fromEntries(Object.entries(ENVIRONMENTS).map(environmentOf)),
  }
  await mkdir(join(folder, 'state'))
  await writeFile(join(folder, 'crosscloud.yml'), JSON.stringify(settings, null, 2))
  await writeWar(join(folder, 'sleeper.war'), { 'WEB-INF/web.xml': '<web-app/>' })
  const cli = commandLine(folder)
  await cli('bake-image', '--war', 'sleeper.war', '--version', '1.0.0')
  await cli('push-image', '--to', image)
  return cli
}
