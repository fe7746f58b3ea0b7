import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { StepError } from '../../src/core/errors.ts'
import { startDockerRegistry } from '../../test/support/servers/docker-registry.ts'
import { makeNetwork } from '../../test/support/servers/network.ts'
import { missingProgram, serverFolder } from '../../test/support/servers/server.ts'
import { type BenchHost, startHost } from './hosts.ts'

const PROGRAMS = ['dockerd', 'docker', 'docker-registry', 'ip', 'iptables', 'nsenter', 'nginx']

/** What the rows are measured on. */
export interface Stage {
  /** `address:port`, in plain HTTP. */
  registry: string
  makeFolder(name: string): Promise<string>
  addHost(): Promise<BenchHost>
}

/** Sets the stage, runs `work` on it, and leaves nothing behind, whatever happens. */
export async function onStage<Result>(work: (stage: Stage) => Promise<Result>): Promise<Result> {
  const missing = missingProgram(...PROGRAMS, 'haproxy', 'javac', 'gcc')
  if (missing) throw new StepError('NOT_FOUND', `the bench ${missing}`)
  const undo: (() => Promise<unknown>)[] = []
  const clear = async () => {
    for (let last = undo.pop(); last; last = undo.pop()) await last().catch(report)
  }
  const interrupted = () => void clear().finally(() => process.exit(130))
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    const network = await makeNetwork()
    undo.push(network.remove)
    const registry = await startDockerRegistry({ host: `${network.prefix}1` })
    undo.push(registry.close)
    const { folder, remove } = await serverFolder('bench-deploy')
    undo.push(remove)
    let hosts = 0
    const stage: Stage = {
      registry: registry.address,
      async makeFolder(name) {
        await mkdir(join(folder, name))
        return join(folder, name)
      },
      async addHost() {
        const host = await startHost(network, ++hosts, registry.address)
        undo.push(host.stop)
        return host
      },
    }
    return await work(stage)
  } finally {
    await clear()
    process.removeListener('SIGINT', interrupted).removeListener('SIGTERM', interrupted)
  }
}

function report(error: unknown): void {
  process.stderr.write(`not cleared: ${error}\n`)
}
