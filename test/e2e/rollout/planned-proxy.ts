import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Plan } from '../../../src/delivery/plan/schema.ts'

interface Planning {
  folder: string
  configure(more: { container: string }): Promise<void>
  plan(): Promise<{ code: number; plan: Plan }>
}

/** What a plan says of the proxy and of slots, of an application that runs on app-01. */
export async function plannedProxy(t: Test, { folder, configure, plan }: Planning): Promise<void> {
  await t.test('a plan asks the proxy, and says what it would be told', async (t) => {
    const commands = `{ take-out: [touch, out], put-in: [touch, in], check: [test, -e, 'in-{{name}}'] }`
    const proxied = `container: { ports: ["18080:8080"] }, proxy: { commands: ${commands} }`
    await configure({ container: proxied })
    const { plan: kept } = await plan()
    t.match(kept.proxy, { hosts: [{ name: 'app-01', out: true, steps: [] }], canary: null })
    await writeFile(join(folder, 'in-app-01'), '')
    const { plan: told, code } = await plan()
    t.equal(code, 0)
    t.same(told.proxy, {
      name: 'proxy by commands',
      leftover: null,
      canary: null,
      hosts: [
        {
          name: 'app-01',
          out: false,
          steps: [
            { do: 'take out', server: 'app-01' },
            { do: 'put in', server: 'app-01' },
          ],
        },
      ],
      servers: [
        {
          name: 'app-01',
          address: '127.0.0.1:18080',
          mode: 'in',
          up: true,
          weight: null,
        },
      ],
    })
    t.not(told.hash, kept.hash)
    t.notOk((await readdir(folder)).some((name) => name === 'out' || name === 'in'))
    await configure({ container: proxied.replace('[test,', '[missing-program,') })
    const { plan: broken } = await plan()
    t.match(broken, { ready: false, proxy: null, problems: [{ check: 'proxy' }] })
  })

  await t.test('with slots, a plan says where the new container starts', async (t) => {
    await configure({ container: 'container: { slots: ["18081:8080", "18082:8080"] }' })
    const { plan: beside } = await plan()
    t.match(beside.hosts, [{ slot: 1, runs: { release: 'webapi@1.0.0' } }])
  })
}
