import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { parse } from 'yaml'
import type { Deployment } from '../../../src/ledger/ledger.ts'
import { makeCertificates } from '../data/certificates.ts'
import { runHere } from '../program.ts'
import { type DockerMachine, startDockerMachine } from '../servers/docker-machine.ts'
import { startDockerRegistry } from '../servers/docker-registry.ts'
import { makeNetwork } from '../servers/network.ts'
import { temporaryFolder } from '../temporary.ts'
import { createSandbox } from './sandbox.ts'

const PORT = 18080
/** Bytes of each machine's disk. */
const DISK = 96 * 1024 * 1024

/** What serves on a machine: the container of before, another one, or none; `?`: nobody knows. */
export type Serving = 'old' | 'new' | 'none' | '?'

export interface Attempt {
  code: number
  text: string
  /** What really serves on each machine now. */
  serving: Serving[]
  /** The deployment as the ledger has it. */
  row: Deployment | undefined
  /** What serves on each machine as the ledger has it. */
  recorded: Serving[]
}

/** What befalls a deployment once its output matches `at`. */
export interface Fault {
  at: RegExp
  /** What it does until its first `await` happens before the deployment goes on. */
  occur(): Promise<unknown>
}

/** Four machines with an engine each, reached over mutual TLS, and releases to deploy to them. */
export async function startFleet(t: Test) {
  const network = await makeNetwork()
  t.teardown(() => network.remove())
  const registry = await startDockerRegistry({ host: `${network.prefix}1` })
  t.teardown(() => registry.close())
  const numbers = [1, 2, 3, 4]
  const certificates = join(await temporaryFolder(t), 'tls')
  const addresses = numbers.map((number) => `${network.prefix}${number + 1}`)
  await makeCertificates(certificates, addresses)
  const options = { registry: registry.address, certificates, diskSize: DISK }
  const machines = await Promise.all(
    numbers.map((number) => startDockerMachine(network, number, options)),
  )
  t.teardown(() => Promise.all(machines.map((machine) => machine.stop())))
  const [first, , third] = machines as [DockerMachine, DockerMachine, DockerMachine]
  const sandbox = await createSandbox(t, { engine: first.engine, registry })
  await sandbox.configure('sqlite:ledger.db')
  const file = join(sandbox.folder, 'crosscloud.yml')
  const plain = parse(await readFile(file, 'utf8'))

  /** Parts of crosscloud.yml: of the rollout, its containers, and the environment. */
  const configure = async (rollout: object, container: object = {}, environment: object = {}) => {
    const hosts = machines.map(({ name, engine }) => [
      name,
      { address: engine.tcp?.address, certificates },
    ])
    const settings = {
      ...plain,
      rollout: { parallel: 2, ...rollout },
      container: { ...plain.container, ports: [`${PORT}:8080`], ...container },
      environments: {
        test: { ...plain.environments.test, hosts: Object.fromEntries(hosts), ...environment },
      },
    }
    await writeFile(file, JSON.stringify(settings))
  }

  const serves = async ({ engine }: DockerMachine) => {
    const container = await engine.docker.getContainer('webapi-test').inspect().catch(noContainer)
    return container?.State.Running ? container.Id : undefined
  }
  const newest = async () => {
    const context = sandbox.context()
    const [row] = await (await context.ledger()).deployments({ limit: 1 })
    await context.close()
    return row
  }
  const inFleet = <T>(work: (machine: DockerMachine) => Promise<T>) =>
    Promise.all(machines.map(work))

  /**
   * Deploys, and lets each fault occur once. `between` comes after the deployment and before anybody
   * looks at what serves.
   */
  const deploy = async (
    version: string,
    faults: Fault | readonly Fault[] = [],
    between = async () => {},
  ): Promise<Attempt> => {
    const before = await inFleet(serves)
    let text = ''
    const fallen = new Map<Fault, Promise<unknown>>()
    const occur = (fault: Fault) => {
      if (!fallen.has(fault) && fault.at.test(text)) fallen.set(fault, fault.occur())
    }
    const args = ['deploy', '--release', `webapi@${version}`, '--env', 'test', '--older']
    const done = await runHere(args, {
      cwd: sandbox.folder,
      variables: { ...sandbox.variables, CROSSCLOUD_SERVER: '' },
      onText(more) {
        text += more
        for (const fault of [faults].flat()) occur(fault)
      },
    })
    await Promise.all(fallen.values())
    await between()
    const row = await newest()
    const kindOf = (id: string | undefined, at: number): Serving =>
      id === undefined ? 'none' : id === before[at] ? 'old' : 'new'
    const serving = (await inFleet(serves)).map(kindOf)
    const recorded = (row?.hosts ?? []).map(({ containerId, ok }, at): Serving => {
      if (containerId === undefined) return '?'
      const kind = kindOf(containerId, at)
      // What the ledger calls ok is what it says serves the release.
      return ok === (kind === 'new') ? kind : 'none'
    })
    return { code: done.code, text: done.all, serving, row, recorded }
  }
  return { sandbox, registry, third, machines, port: PORT, configure, deploy }
}

/** What really serves on each host, that the ledger says the same, and the error's lines. */
export function expectEnd(
  t: Test,
  attempt: Attempt,
  serving: Serving[],
  lines: readonly RegExp[] = [],
): void {
  t.not(attempt.code, 0, 'the deployment has failed')
  t.match(attempt.row, { state: 'failed', version: '1.0.1', verified: false })
  t.same(attempt.recorded, serving, 'what the ledger says of each host')
  const known = serving.map((each, at) => (each === '?' ? attempt.serving[at] : each))
  t.same(attempt.serving, known, 'what serves')
  for (const line of lines) {
    t.match(attempt.text, line)
    t.match(attempt.row?.error, line, 'the ledger keeps it')
  }
}

export type Fleet = Awaited<ReturnType<typeof startFleet>>

function noContainer(error: { statusCode?: number }) {
  if (error.statusCode === 404) return undefined
  throw error
}
