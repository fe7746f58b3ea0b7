import { z } from 'zod'

/** An instance that has two places on its host is in one of them. */
export type SlotNumber = 1 | 2

/** Keeps a container's slot and its published ports: on the host's own network no engine knows them. */
export const SLOT_LABEL = 'io.crosscloud.slot'

/** The slot of an instance by its labels; undefined for one that was made without slots. */
export function slotOf(labels: Readonly<Record<string, string>>): SlotNumber | undefined {
  return readLabel(labels)?.slot
}

/** Ports of a container that its slot publishes, each with that of the host: `['8080/tcp', '18081']`. */
export function slotPorts(labels: Readonly<Record<string, string>>): [string, string][] {
  return readLabel(labels)?.ports.filter(([, hostPort]) => hostPort !== '') ?? []
}

/**
 * The port at which a container of a slot listens on the host's own network, for the port that it
 * is called by in the settings.
 */
export function listeningPort(labels: Readonly<Record<string, string>>, port: number): number {
  const bindings = readLabel(labels)?.ports ?? []
  const own = bindings.find(([container]) => container === `${port}/tcp`)?.[1]
  return Number(own || port)
}

const port = z.string().refine((text) => /^\d{0,5}$/.test(text) && Number(text) <= 65535)
const kept = z.object({
  slot: z.union([z.literal(1), z.literal(2)]),
  ports: z.array(z.tuple([z.string().regex(/^\d{1,5}\/(?:tcp|udp)$/), port])),
})

/** Anybody may have written there: what is no slot counts as none. */
function readLabel(labels: Readonly<Record<string, string>>): z.output<typeof kept> | undefined {
  const text = labels[SLOT_LABEL]
  if (text === undefined) return undefined
  try {
    return kept.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

export function otherSlot(slot: SlotNumber | undefined): SlotNumber {
  return slot === 1 ? 2 : 1
}
