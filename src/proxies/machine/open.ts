import type { Machine, MachineOptions } from './machine.ts'

/** Nothing is sent yet. */
export async function openMachine(options: MachineOptions): Promise<Machine> {
  const { address, container, sshConfig, programs } = options
  if (container !== undefined) {
    const { openContainer } = await import('./container.ts')
    return openContainer(container, options)
  }
  const { openLocal, openSsh } = await import('./program.ts')
  return address?.kind === 'ssh' ? openSsh(address, sshConfig, programs) : openLocal(programs)
}
