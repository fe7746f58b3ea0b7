import { setTimeout as sleep } from 'node:timers/promises'
import { median } from '../measure.ts'
import { longestGap, measureBoot } from './by-hand.ts'
import { ownTime, phases, stopTime } from './calls.ts'
import { startProbe } from './load.ts'
import { clear, deploy, PORTS, type Project, RELEASES, rollback } from './project.ts'

const ROUNDS = 3
const [OLD, NEW] = RELEASES

/** Boots and what follows are measured in turn, on a machine without load. */
export async function measureRecreate(project: Project) {
  const { host } = project
  const rounds: { boot: number; stop: number; gap: number; beyond: number }[] = []
  await deploy(project, 'plain', OLD)
  for (let round = 0; round < ROUNDS; round++) {
    await host.docker('stop', 'orders-plain')
    const boot = await measureBoot(project)
    await host.docker('start', 'orders-plain')
    const probe = startProbe(host.address, PORTS.plain)
    while (probe.good.length === 0) await sleep(50)
    const { calls } = await deploy(project, 'plain', round % 2 ? OLD : NEW)
    await probe.stop()
    const gap = longestGap(probe.good)
    const stop = stopTime(calls)
    rounds.push({ boot, stop, gap, beyond: gap - stop - boot })
  }
  await clear(project)
  return { rounds, beyond: median(rounds.map(({ beyond }) => beyond)) }
}

/** From the command to the first 200 of the old release, and what the command did itself. */
export async function measureRollback(project: Project) {
  const rounds: Record<'boot' | 'serving' | 'beyond' | 'own', number>[] = []
  await deploy(project, 'slots', OLD)
  for (let round = 0; round < ROUNDS; round++) {
    const deployed = await deploy(project, 'slots', NEW)
    const boot = await measureBoot(project)
    const probes = PORTS.slots.map((port) => startProbe(project.host.address, port))
    const back = await rollback(project)
    await Promise.all(probes.map((probe) => probe.stop()))
    const first = probes
      .flatMap(({ good }) => good)
      .filter(({ text }) => text === OLD)
      .map(({ ended }) => ended)
    const serving = Math.min(...first) - back.at
    const own = Math.max(ownTime(deployed.calls), ownTime(back.calls))
    const beyond = serving - boot
    rounds.push({ boot, serving, beyond, own, ...phases(back.calls, back.at) })
  }
  await clear(project)
  const of = (name: 'beyond' | 'own') => median(rounds.map((round) => round[name]))
  return { rounds, beyond: of('beyond'), own: of('own') }
}
