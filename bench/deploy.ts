import { parseArgs } from 'node:util'
import { table } from '../src/cli/output.ts'
import { StepError } from '../src/core/errors.ts'
import { measureByHand } from './deploy/by-hand.ts'
import type { BenchHost } from './deploy/hosts.ts'
import { measureManyHosts } from './deploy/many-hosts.ts'
import { measureParallel } from './deploy/parallel.ts'
import { makeProject, type Project } from './deploy/project.ts'
import { measureRecreate, measureRollback } from './deploy/quiet.ts'
import {
  byHandPart,
  manyHostsPart,
  type Part,
  parallelPart,
  recreatePart,
  rollbackPart,
  switchesPart,
} from './deploy/report.ts'
import { onStage, type Stage } from './deploy/stage.ts'
import { measureSwarm } from './deploy/swarm.ts'
import { measureSwitches } from './deploy/switches.ts'

const ROUNDS = 20

interface On {
  stage: Stage
  host: BenchHost
  /** Made when it is first asked for. */
  project: () => Promise<Project>
  rounds: number
}

const parts: Record<string, (on: On) => Promise<Part>> = {
  recreate: async ({ project }) => recreatePart(await measureRecreate(await project())),
  rollback: async ({ project }) => rollbackPart(await measureRollback(await project())),
  nginx: async ({ project, rounds }) =>
    switchesPart('nginx', await measureSwitches(await project(), 'nginx', rounds)),
  haproxy: async ({ project, rounds }) =>
    switchesPart('HAProxy', await measureSwitches(await project(), 'haproxy', rounds)),
  'nginx-driver': async ({ project, rounds }) =>
    switchesPart('nginx, driver', await measureSwitches(await project(), 'nginx-driver', rounds)),
  'haproxy-driver': async ({ project, rounds }) =>
    switchesPart(
      'HAProxy, driver',
      await measureSwitches(await project(), 'haproxy-driver', rounds),
    ),
  parallel: async ({ stage, host }) => parallelPart(await measureParallel(stage, host)),
  hosts: async ({ stage, host }) => manyHostsPart(await measureManyHosts(stage, host)),
  'by-hand': async ({ project }) =>
    byHandPart('docker stop; rm; run', await measureByHand(await project())),
  swarm: async ({ project }) =>
    byHandPart('Swarm, start-first', await measureSwarm(await project())),
}

/**
 * Deployments of a WAR with Debian's jars on a real Tomcat, by whole processes of the command line.
 * Behind each proxy there are `--rounds` deployments and as many rollbacks, while 150 requests a
 * second come in. `--only nginx,rollback`: some parts.
 */
export async function benchDeploy(flags: readonly string[]) {
  const { rounds, names } = readFlags(flags)
  return onStage(async (stage) => {
    const host = await stage.addHost()
    let made: Promise<Project> | undefined
    const project = () =>
      (made ??= stage
        .makeFolder('orders')
        .then((folder) => makeProject(folder, stage.registry, host)))
    const measured: Record<string, Part> = {}
    for (const name of names) {
      const part = await parts[name]?.({ stage, host, project, rounds })
      if (!part) continue
      measured[name] = part
      // The bench takes many minutes: what is measured is shown at once.
      process.stderr.write(`${[`${name}:`, ...part.details].join('\n  ')}\n`)
    }
    const json = Object.fromEntries(
      Object.entries(measured).map(([name, { json }]) => [name, json]),
    )
    const rows = Object.values(measured).flatMap((part) => part.rows)
    return { json, text: table(['', 'measured', 'goal', ''], rows) }
  })
}

function readFlags(args: readonly string[]) {
  const bad = (what: string) =>
    new StepError('INPUT_INVALID', what, {
      hint: `As in --rounds 3 --only nginx,rollback. Parts: ${Object.keys(parts).join(', ')}.`,
    })
  const options = {
    rounds: { type: 'string', default: String(ROUNDS) },
    only: { type: 'string', default: Object.keys(parts).join(',') },
    json: { type: 'boolean' },
  } as const
  const { values } = parseArgs({ args: [...args], options })
  const rounds = Number(values.rounds)
  if (!Number.isInteger(rounds) || rounds < 1) throw bad('--rounds needs a number')
  const names = values.only.split(',')
  const unknown = names.find((name) => !(name in parts))
  if (unknown !== undefined) throw bad(`there is no part "${unknown}"`)
  return { rounds, names }
}
