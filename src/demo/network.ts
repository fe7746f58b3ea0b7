import { StepError } from '../core/errors.ts'
import { run } from '../core/process/process.ts'

/** Makes a bridge with an address of a /24 that nothing on this machine uses. An old one goes. */
export async function addBridge(name: string): Promise<void> {
  await removeBridge(name)
  const used = await usedNetworks()
  const free = candidates().find((candidate) => !used.some((other) => overlap(candidate, other)))
  if (!free) throw new StepError('UNAVAILABLE', 'no subnet is free for a bridge')
  const address = `${free.replace(/0\/24$/, '1/24')}`
  await run('ip', ['link', 'add', 'name', name, 'type', 'bridge'])
  await run('ip', ['address', 'add', address, 'dev', name])
  await run('ip', ['link', 'set', name, 'up'])
}

export async function removeBridge(name: string): Promise<void> {
  const { stdout } = await run('ip', ['-json', 'link', 'show', 'type', 'bridge'])
  const links: { ifname?: string }[] = JSON.parse(stdout || '[]')
  if (links.some(({ ifname }) => ifname === name)) await run('ip', ['link', 'delete', name])
}

/** In the half of 10/8 that hardly anybody uses; a random start keeps two demos apart. */
function candidates(): string[] {
  const start = Math.floor(Math.random() * 100)
  return Array.from({ length: 100 }, (_, index) => `10.213.${100 + ((start + index) % 100)}.0/24`)
}

/** Every network that an address or a route of this machine is for. */
async function usedNetworks(): Promise<string[]> {
  const { stdout: links } = await run('ip', ['-4', '-json', 'address'])
  const { stdout: routes } = await run('ip', ['-4', '-json', 'route', 'show', 'table', 'all'])
  const addresses: { addr_info?: { local: string; prefixlen: number }[] }[] = JSON.parse(links)
  const destinations: { dst: string }[] = JSON.parse(routes)
  return [
    ...addresses.flatMap(({ addr_info = [] }) => addr_info.map((a) => `${a.local}/${a.prefixlen}`)),
    ...destinations.map(({ dst }) => dst).filter((dst) => /^\d/.test(dst)),
  ]
}

/** Whether two IPv4 networks, written `a.b.c.d/n` (or one address), share an address. */
export function overlap(subnet: string, other: string): boolean {
  const [a, b] = [parse(subnet), parse(other)]
  const bits = Math.min(a.bits, b.bits)
  return Math.floor(a.number / 2 ** (32 - bits)) === Math.floor(b.number / 2 ** (32 - bits))
}

function parse(network: string): { number: number; bits: number } {
  const [address = '', bits = '32'] = network.split('/')
  const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
  return { number, bits: Number(bits) }
}
