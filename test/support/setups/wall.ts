import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { run } from '../../../src/core/process/process.ts'
import { makeMachine, makeNetwork } from '../servers/network.ts'

/** A machine of a runner: it reaches some ports of this machine, and nothing else. */
export interface WalledMachine {
  /** The words before a command that make it run there. */
  enter: readonly string[]
  /** All bytes that went in and out so far. */
  traffic(): Buffer
  /** Whether a connection to this port of 127.0.0.1, or of this machine by its address, is let through. */
  reaches(port: number): Promise<boolean>
  remove(): Promise<void>
}

/**
 * Behind a wall of nftables. These ports of 127.0.0.1 are the same there as here, and what goes through
 * them is kept: nothing on this way is encrypted.
 */
export async function makeWalledMachine(ports: readonly number[]): Promise<WalledMachine> {
  const network = await makeNetwork()
  const machine = await makeMachine(network, 1)
  const gateway = `${network.prefix}1`
  const kept: Buffer[] = []
  const relays = await Promise.all(ports.map((port) => relay(gateway, port, kept)))
  const inner = await openInside(machine.enter, gateway, ports)
  const [first = '', ...words] = machine.enter
  await run(first, [...words, 'nft', wall(gateway, ports)])
  return {
    enter: machine.enter,
    traffic: () => Buffer.concat(kept),
    async reaches(port) {
      const tries = ['127.0.0.1', gateway].map((host) =>
        run(first, [...words, process.execPath, '-e', CONNECT, host, String(port)]).then(
          () => true,
          () => false,
        ),
      )
      return (await Promise.all(tries)).includes(true)
    },
    async remove() {
      inner.kill('SIGKILL')
      for (const server of relays) server.close()
      await machine.remove()
      await network.remove()
    },
  }
}

const wall = (gateway: string, ports: readonly number[]) =>
  `table inet wall { chain out { type filter hook output priority 0; policy drop;
    oifname lo accept; ct state established,related accept;
    ip daddr ${gateway} tcp dport { ${ports.join(', ')} } accept; }; }`

const CONNECT = `require('node:net').connect({ host: process.argv[1], port: Number(process.argv[2]), timeout: 1000 })
  .once('connect', () => process.exit(0)).once('timeout', () => process.exit(1)).once('error', () => process.exit(1))`

/** From the machine's side to what listens on 127.0.0.1 here. */
async function relay(host: string, port: number, kept: Buffer[]): Promise<Server> {
  const server = createServer((outer) => {
    const local = connect(port, '127.0.0.1')
    outer.on('data', (chunk) => kept.push(chunk)).on('error', () => local.destroy())
    local.on('data', (chunk) => kept.push(chunk)).on('error', () => outer.destroy())
    outer.pipe(local)
    local.pipe(outer)
  })
  server.listen(port, host)
  await once(server, 'listening')
  if ((server.address() as AddressInfo).port !== port) throw new Error(`port ${port} is taken`)
  return server
}

const INSIDE = `const { connect, createServer } = require('node:net')
const [gateway, ...ports] = process.argv.slice(1)
for (const port of ports.map(Number)) {
  createServer((local) => {
    const outer = connect(port, gateway)
    local.on('error', () => outer.destroy())
    outer.on('error', () => local.destroy())
    local.pipe(outer)
    outer.pipe(local)
  }).listen(port, '127.0.0.1', () => console.log(port))
}`

async function openInside(enter: readonly string[], gateway: string, ports: readonly number[]) {
  const [first = '', ...words] = enter
  const args = [...words, process.execPath, '-e', INSIDE, gateway, ...ports.map(String)]
  const child = spawn(first, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let printed = ''
  for await (const chunk of child.stdout) {
    printed += chunk
    if (printed.trim().split('\n').length === ports.length) return child
  }
  throw new Error('the machine behind the wall did not start')
}
