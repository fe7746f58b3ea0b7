import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeWar } from '../../test/support/data/war.ts'
import { recordImage, startStandIns } from '../../test/support/servers/stand-in-engine.ts'
import { publishDemoImage } from '../../test/support/setups/demo-image.ts'
import type { Call } from './calls.ts'
import { commandLine, type Ran } from './command-line.ts'
import type { BenchHost } from './hosts.ts'
import type { Stage } from './stage.ts'

const COUNTS = [10, 50, 200]

/** What a deployment over so many hosts took of this machine, beside what it waited for. */
interface Measured {
  hosts: number
  /** Milliseconds of a host in which no request to an engine or an application was open. */
  own: number
  /** Milliseconds of a processor, a host. */
  cpu: number
  /** Megabytes of the whole process, at most. */
  memory: number
  /** Milliseconds of a host, all in all. */
  took: number
}

/**
 * The second deployment over many hosts, one after the other: each replaces a container. The engines
 * are stand-ins in this process, which respond as a real one has responded, and at once.
 */
export async function measureManyHosts(stage: Stage, { api }: BenchHost): Promise<Measured[]> {
  const folder = await stage.makeFolder('many')
  const repository = `${stage.registry}/team/many`
  const base = await publishDemoImage({ docker: api }, `${stage.registry}/library/many`, '1')
  await mkdir(join(folder, 'state'))
  await writeWar(join(folder, 'many.war'), { 'WEB-INF/web.xml': '<web-app/>' })
  const write = (addresses: readonly string[], parallel: number) => {
    const hosts = addresses.map((address, at) => [
      `app-${String(at + 1).padStart(3, '0')}`,
      address,
    ])
    const test = { image: repository, hosts: Object.fromEntries(hosts) }
    const settings = {
      app: 'many',
      image: { base, webapp: '/srv/web' },
      rollout: { parallel },
      ledger: `sqlite:${join(folder, 'ledger.db')}`,
      environments: { test },
      registries: { insecure: [stage.registry] },
      container: { ports: ['18080:8080'], 'stop-timeout': '1s', health: { http: ':8080/health' } },
    }
    return writeFile(join(folder, 'crosscloud.yml'), JSON.stringify(settings))
  }
  await write(['tcp://127.0.0.1:1'], 1)
  const cli = commandLine(folder)
  await cli('bake-image', '--war', 'many.war', '--version', '1.0.0')
  const pushed = await cli('push-image', '--to', repository, '--json')
  const { image } = JSON.parse(pushed.output) as { image: string }
  for await (const _ of await api.pull(image));
  const recorded = await recordImage(api, image)
  const found: Measured[] = []
  for (const hosts of COUNTS) {
    const engines = await startStandIns(hosts, recorded)
    const deploy = () =>
      cli('deploy', '--release', 'many@1.0.0', '--env', 'test', '--reason', 'bench')
    try {
      await write(engines.addresses, 10)
      await deploy()
      await write(engines.addresses, 1)
      found.push(measure(hosts, await deploy()))
    } finally {
      engines.stop()
    }
  }
  return found
}

function measure(hosts: number, { calls, usage }: Ran): Measured {
  const created = calls.find(({ path }) => path.startsWith('/containers/create'))
  const from = created?.started ?? Number.NaN
  const during = calls.filter(({ started }) => started >= from)
  const until = Math.max(...during.map(({ ended = 0 }) => ended))
  const took = until - from
  return {
    hosts,
    own: (took - busyTime(during)) / hosts,
    cpu: usage.cpu / hosts,
    memory: usage.memory / 1024 ** 2,
    took: took / hosts,
  }
}

/** Milliseconds in which at least one request was open. */
function busyTime(calls: readonly Call[]): number {
  let [busy, until] = [0, 0]
  for (const { started, ended = started } of calls.toSorted((a, b) => a.started - b.started)) {
    busy += Math.max(0, ended - Math.max(started, until))
    until = Math.max(until, ended)
  }
  return busy
}
