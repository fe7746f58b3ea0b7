import { execFileSync } from 'node:child_process'
import { run } from '../../../src/core/process/process.ts'
import { addBridge, removeBridge } from '../../../src/demo/network.ts'

/** A bridge that machines hang on; this machine is the first address of it. */
export interface Network {
  bridge: string
  /** `10.213.107.`: a machine's address without its last number. */
  prefix: string
  remove(): Promise<void>
}

const random = () => Math.random().toString(36).slice(2, 8)

export async function makeNetwork(): Promise<Network> {
  const bridge = `ccb${random()}`
  await addBridge(bridge)
  const { stdout } = await run('ip', ['-4', '-json', 'address', 'show', 'dev', bridge])
  const [{ addr_info: addresses = [] } = {}] = JSON.parse(stdout) as {
    addr_info?: { local: string }[]
  }[]
  const prefix = (addresses[0]?.local ?? '').replace(/\d+$/, '')
  return { bridge, prefix, remove: () => removeBridge(bridge) }
}

/** A machine as far as its network goes: a namespace with one address of the network. */
export interface Machine {
  address: string
  /** The words before a command that make it run there. */
  enter: readonly string[]
  /** Pulls its cable, at once: what is sent to it is lost, and it cannot be found any more. */
  cut(): void
  mend(): void
  remove(): Promise<void>
}

export async function makeMachine({ bridge, prefix }: Network, number: number): Promise<Machine> {
  const name = `ccb${random()}`
  const address = `${prefix}${number + 1}`
  // `ip netns exec` would hide the mounts of the control groups, which an engine needs.
  const enter = ['nsenter', `--net=/run/netns/${name}`]
  const remove = async () => {
    // Its end of the cable goes with the namespace, and takes the other end with it.
    await run('ip', ['netns', 'delete', name]).catch(() => {})
    await run('ip', ['link', 'delete', name]).catch(() => {})
  }
  const inside = (...args: string[]) => run('nsenter', [...enter.slice(1), 'ip', ...args])
  try {
    await run('ip', ['netns', 'add', name])
    const peer = ['peer', 'name', 'eth0', 'netns', name]
    await run('ip', ['link', 'add', name, 'type', 'veth', ...peer])
    await run('ip', ['link', 'set', name, 'master', bridge, 'up'])
    await inside('address', 'add', `${address}/24`, 'dev', 'eth0')
    await inside('link', 'set', 'eth0', 'up')
    await inside('link', 'set', 'lo', 'up')
    await inside('route', 'add', 'default', 'via', `${prefix}1`)
    const ip = (...args: string[]) => void execFileSync('ip', args)
    const mend = () => ip('link', 'set', name, 'up')
    const cut = () => {
      ip('link', 'set', name, 'down')
      // Else it depends on the entry's age whether a connection waits or fails.
      ip('neighbour', 'flush', 'to', address)
    }
    return { address, enter, cut, mend, remove }
  } catch (error) {
    await remove()
    throw error
  }
}
