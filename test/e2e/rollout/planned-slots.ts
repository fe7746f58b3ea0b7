import type { Test } from 'tap'
import type { Plan } from '../../../src/delivery/plan/schema.ts'

interface Place {
  configure(more?: { container?: string }): Promise<void>
  plan(): Promise<{ plan: Plan }>
}

/** What a plan says of where slots are published. */
export async function plannedSlots(t: Test, { configure, plan }: Place): Promise<void> {
  await t.test('slots on a loopback address are warned of, with the ways out', async (t) => {
    const slots = (address: string) =>
      `container: { ports: [], slots: ["${address}:18081:8080", "${address}:18082:8080"] }`
    await configure({ container: slots('127.0.0.1') })
    const warnings = async () => (await plan()).plan.warnings.join('\n')
    t.match(
      await warnings(),
      /^host app-01: the slots are published on 127\.0\.0\.1: .*a POST; .*`bind`.*`userland-proxy: false`/m,
    )
    await configure({ container: slots('0.0.0.0') })
    t.match(
      await warnings(),
      /^host app-01: the slots are published on every address, and a proxy/m,
    )
    await configure({ container: slots('10.1.0.11') })
    t.notMatch(await warnings(), 'are published on')
    await configure()
  })
}
