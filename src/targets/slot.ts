/** An instance that has two places on its host is in one of them. */
export type SlotNumber = 1 | 2

/** Keeps a container's slot and its published ports: on the host's own network no engine knows them. */
export const SLOT_LABEL = 'io.crosscloud.slot'

/** The slot of an instance by its labels; undefined for one that was made without slots. */
export function slotOf(labels: Readonly<Record<string, string>>): SlotNumber | undefined {
  const number = readLabel(labels)?.slot
  return number === 1 || number === 2 ? number : undefined
}

/**
 * The port at which a container of a slot listens on the host's own network, for the port that it
 * is called by in the settings.
 */
export function listeningPort(labels: Readonly<Record<string, string>>, port: number): number {
  const bindings = readLabel(labels)?.ports ?? []
  const own = bindings.find(([container]) => container === `${port}/tcp`)?.[1]
  return own === undefined ? port : Number(own)
}

function readLabel(
  labels: Readonly<Record<string, string>>,
): { slot?: unknown; ports?: [string, string][] } | undefined {
  const text = labels[SLOT_LABEL]
  if (text === undefined) return undefined
  try {
    return JSON.parse(text) as ReturnType<typeof readLabel>
  } catch {
    return undefined
  }
}

export function otherSlot(slot: SlotNumber | undefined): SlotNumber {
  return slot === 1 ? 2 : 1
}
