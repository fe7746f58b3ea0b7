import { median } from '../measure.ts'
import type { Ran } from './command-line.ts'
import { startLoad } from './load.ts'
import { lossesOf } from './losses.ts'
import { clear, deploy, PORTS, type Project, RELEASES, rollback } from './project.ts'
import { type ProxyName, proxies } from './proxies.ts'

const [OLD, NEW] = RELEASES

/** Deployments and rollbacks in slots, behind a proxy that has a driver, or that nobody tells anything. */
export async function measureSwitches(project: Project, name: ProxyName, rounds: number) {
  const { name: host, address } = project.host
  const servers = PORTS.slots.map((port, at) => ({ host, slot: at + 1, address, port }))
  const proxy = await proxies[name](servers)
  await project.useProxy(proxy.settings)
  const seconds: number[] = []
  const ran = ({ took }: Ran) => void seconds.push(took / 1000)
  try {
    await deploy(project, 'slots', OLD)
    const load = await startLoad(`${name}-${Date.now()}`, proxy)
    try {
      for (let round = 0; round < rounds; round++) {
        ran(await deploy(project, 'slots', NEW))
        ran(await rollback(project))
      }
    } finally {
      await load.stop()
    }
    await clear(project)
    const losses = await lossesOf(load, project.counts)
    return { switches: 2 * rounds, seconds: median(seconds), ...losses }
  } finally {
    await project.useProxy(undefined)
    await proxy.stop()
  }
}
