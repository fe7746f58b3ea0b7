import { setTimeout as sleep } from 'node:timers/promises'
import { time } from '../measure.ts'
import { startLoad, startProbe } from './load.ts'
import { lossesOf } from './losses.ts'
import { PORTS, type Project, RELEASES } from './project.ts'
import { proxies } from './proxies.ts'

const [OLD, NEW] = RELEASES
const PEER = 'orders-by-hand'

/** As the old system did it; `docker run` without `-d` would be the same. */
function runByHand(
  { host, images, counts, sessions }: Project,
  verb: 'run' | 'create',
  version: string,
) {
  const image = images[RELEASES.indexOf(version as never)] ?? ''
  return host.docker(
    ...[verb, ...(verb === 'run' ? ['--detach'] : []), '--name', PEER],
    ...['--publish', `${host.address}:${PORTS.plain}:8080`],
    ...['--volume', `${counts}:/counts`, '--volume', `${sessions}:/sessions`],
    image,
  )
}

/** From the start of a fresh container by the engine's API to its first 200, in milliseconds. */
export async function measureBoot(project: Project): Promise<number> {
  const { host } = project
  await runByHand(project, 'create', OLD)
  const probe = startProbe(host.address, PORTS.plain)
  const at = Date.now()
  await host.api.getContainer(PEER).start()
  while (probe.good.length === 0 && Date.now() - at < 120_000) await sleep(10)
  await probe.stop()
  await host.docker('rm', '--force', PEER)
  return (probe.good[0]?.ended ?? Number.NaN) - at
}

/** `docker stop; rm; run` behind nginx, under the same load. */
export async function measureByHand(project: Project) {
  const { host } = project
  await runByHand(project, 'run', OLD)
  const proxy = await proxies.nginx([
    { host: host.name, slot: undefined, address: host.address, port: PORTS.plain },
  ])
  try {
    const probe = startProbe(host.address, PORTS.plain)
    while (probe.good.length === 0) await sleep(50)
    const load = await startLoad(`by-hand-${Date.now()}`, proxy)
    await sleep(3000)
    const before = probe.good.length
    const took = await time(async () => {
      await host.docker('stop', PEER)
      await host.docker('rm', PEER)
      await runByHand(project, 'run', NEW)
      while (!probe.good.slice(before).some(({ text }) => text === NEW)) await sleep(20)
    })
    await sleep(3000)
    await Promise.all([load.stop(), probe.stop()])
    return { took, gap: longestGap(probe.good), ...(await lossesOf(load, project.counts)) }
  } finally {
    await proxy.stop()
    await host.docker('rm', '--force', PEER)
  }
}

/** Between two good responses, in milliseconds. */
export function longestGap(good: readonly { ended: number }[]): number {
  return Math.max(...good.slice(1).map(({ ended }, at) => ended - (good[at]?.ended ?? ended)))
}
