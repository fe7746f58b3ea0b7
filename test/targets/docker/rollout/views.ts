import type { ContainerInfo, Host } from '../../../../src/targets/docker/host.ts'

/**
 * A host of its own on an engine that others use, too: its containers' names begin with its own name
 * there. So many hosts need one engine only.
 */
export function viewOf(engine: Host, name: string): Host {
  const there = (called: string) => (/^[0-9a-f]{64}$/.test(called) ? called : `${name}-${called}`)
  const here = (info: ContainerInfo): ContainerInfo => ({
    ...info,
    name: info.name.slice(name.length + 1),
  })
  return {
    ...engine,
    name,
    async inspect(called) {
      const found = await engine.inspect(there(called))
      return found && here(found)
    },
    async list(labels) {
      const found = await engine.list(labels)
      return found.filter((each) => each.name.startsWith(`${name}-`)).map(here)
    },
    create: async (spec) => here(await engine.create({ ...spec, name: there(spec.name) })),
    rename: (id, to) => engine.rename(id, there(to)),
  }
}
