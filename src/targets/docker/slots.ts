import { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import { parsed } from '../../core/settings/schema.ts'
import { configFilesLabel, instanceLabels } from '../labels.ts'
import { SLOT_LABEL, type SlotNumber } from '../slot.ts'
import { fillSlotValues } from '../slot-values.ts'
import { isLoopback, isUnspecified } from './address.ts'
import { plainVariables } from './container/settings.ts'
import type { ContainerSettings, ContainerSpec, Slot, SlotPair } from './host.ts'
import { PORT, parsePort } from './notation.ts'

const port = parsed(parsePort).meta({ pattern: PORT.source })
const writtenSlot = z.union([
  port,
  z.strictObject({
    ports: z.array(port).min(1).describe('The first is the one a proxy sends requests to'),
    env: plainVariables.default({}).describe('Variables of this slot only'),
    values: z
      .record(
        z.string().regex(/^[a-z][a-z0-9-]*$/, 'is not a name in lower case'),
        z.union([z.string(), z.number()]).transform(String),
      )
      .default({})
      .describe('What templates read as {{slot "name"}}; both slots have the same names'),
  }),
])

/** `container.slots` in crosscloud.yml. */
export const slotSettings = z
  .array(writtenSlot)
  .length(2, 'needs two slots: the container that serves is in one, the next starts in the other')
  .transform((written): SlotPair => {
    const [first, second] = written.map((slot) =>
      'ports' in slot ? slot : { ports: [slot], env: {}, values: {} },
    )
    return [first as Slot, second as Slot]
  })

/** The container as it must be made for one of its slots. */
export function inSlot(spec: ContainerSpec, slots: SlotPair, number: SlotNumber): ContainerSpec {
  const { settings } = spec
  const { ports, env } = slots[number - 1] as Slot
  const label = {
    slot: number,
    ports: ports.map(({ container, hostPort }) => [container, hostPort]),
  }
  const files = spec.files.map((file) => ({
    ...file,
    content: fillSlotValues(file.content, { container: { slots } }, number),
  }))
  const { configFiles } = instanceLabels
  return {
    ...spec,
    files,
    labels: {
      ...spec.labels,
      ...(configFiles in spec.labels && { [configFiles]: configFilesLabel(files) }),
      [SLOT_LABEL]: JSON.stringify(label),
    },
    settings: {
      ...settings,
      ports: [...settings.ports, ...ports],
      env: {
        ...settings.env,
        CROSSCLOUD_SLOT: String(number),
        CROSSCLOUD_SLOT_PORT: ports[0]?.hostPort ?? '',
        ...env,
      },
    },
  }
}

/**
 * A port that is reached by loopback is served by the engine's own proxy, which accepts connections
 * while the application does not listen yet, and resets them. Undefined where no slot has such a port.
 */
export function loopbackWarning(
  { bind = '', isLocal = false }: { bind?: string | undefined; isLocal?: boolean | undefined },
  { network, slots }: Pick<ContainerSettings, 'network' | 'slots'>,
): string | undefined {
  const at = slots?.flatMap(({ ports }) => ports.map(({ hostIp }) => hostIp || bind)) ?? []
  const loopback = at.find(isLoopback)
  const isEverywhere = isLocal && at.some(isUnspecified)
  if (network === 'host' || (loopback === undefined && !isEverywhere)) return undefined
  const where = loopback ?? 'every address, and a proxy on this machine reaches them on 127.0.0.1'
  return `the slots are published on ${where}: while the application starts, the engine accepts requests there and resets them, and a proxy does not repeat a POST; publish them on an address of the host, as its \`bind\` does, set \`userland-proxy: false\` for the engine, or use \`network: host\` (docs/deploy.md)`
}

/** Refuses slots whose containers could not run side by side. */
export function checkSlots(settings: ContainerSettings): void {
  const { slots } = settings
  if (slots === undefined) return
  const bad = (what: string, hint: string) =>
    new StepError('INPUT_INVALID', `container.slots: ${what}`, { hint })
  const all = slots.flatMap(({ ports }) => ports)
  if (all.some(({ hostPort }) => hostPort === '')) {
    throw bad(
      'each port of a slot needs a port of the host',
      "Write '18081:8080' and '18082:8080': the proxy has to know both.",
    )
  }
  const [one, other] = slots.map(({ values }) => Object.keys(values).sort().join(', '))
  if (one !== other) {
    throw bad(
      `the slots have different values: ${one || 'none'} and ${other || 'none'}`,
      'A template reads the same names in both.',
    )
  }
  const [first, second] = slots.map(({ ports }) => ports.map(({ container }) => container))
  if (first?.[0] !== second?.[0]) {
    throw bad(
      `the slots lead to different ports of the container: ${first?.[0]} and ${second?.[0]}`,
      "Both name the same port of the container, as '18081:8080' and '18082:8080' do.",
    )
  }
  const keys = all.map(({ hostPort, container }) => `${hostPort}/${container.split('/')[1]}`)
  const twice = keys.find((key, at) => keys.indexOf(key) < at)
  if (twice !== undefined) {
    throw bad(
      `port ${twice} is named twice`,
      'Both slots run at once: each needs ports of its own.',
    )
  }
  const shared = settings.ports.find(({ hostPort }) => hostPort !== '')
  if (shared) {
    throw bad(
      `container.ports publishes ${shared.hostPort}, which only one of two containers can have`,
      'Move it into the slots, with a port of its own in each.',
    )
  }
  if (settings.onVolume) {
    throw bad(
      'files on volumes would be seen by the container that still serves',
      'Render them to paths that are on no volume, or leave the slots out.',
    )
  }
}
