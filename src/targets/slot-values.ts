import { StepError } from '../core/errors.ts'
import type { SlotNumber } from './slot.ts'

/** What is known of each of two slots. */
type Slots = readonly [SlotFacts, SlotFacts]

interface SlotFacts {
  readonly ports: readonly { hostPort: string }[]
  readonly values: Readonly<Record<string, string>>
}

/**
 * What a template writes for a value of its slot: a rendering, and its config revision, are the same
 * for both slots, and the value is filled in when the slot is known.
 */
export function slotPlaceholder(slots: Slots | undefined, name: string): string {
  const hint = 'docs/deploy.md shows how slots have values.'
  if (slots === undefined) {
    throw new StepError('INPUT_INVALID', `slot "${name}": the environment has no slots`, { hint })
  }
  if (slots.every((_, at) => slotValue(slots, (at + 1) as SlotNumber, name) !== undefined)) {
    return placeholder(name)
  }
  throw new StepError('INPUT_INVALID', `slot "${name}": a slot has no value of this name`, { hint })
}

/** The text of a file with the values of a slot; a container without slots has the first's. */
export function fillSlotValues(
  content: Buffer,
  environment: { readonly container: { slots?: Slots | undefined } },
  number: SlotNumber = 1,
): Buffer {
  // Settings are looked up where they are used.
  const slots = content.includes(START) ? environment.container.slots : undefined
  if (slots === undefined) return content
  const text = content.toString('latin1')
  const filled = text.replace(PLACEHOLDER, (found, name: string) => {
    const value = slotValue(slots, number, name)
    return value === undefined ? found : Buffer.from(value).toString('latin1')
  })
  return Buffer.from(filled, 'latin1')
}

const START = '@crosscloud.slot.'
const PLACEHOLDER = /@crosscloud\.slot\.([a-z][a-z0-9-]*)@/g
const placeholder = (name: string) => `${START}${name}@`

/** `number` and `port` are known of every slot. */
function slotValue(slots: Slots, number: SlotNumber, name: string): string | undefined {
  const slot = slots[number - 1]
  if (name === 'number') return String(number)
  if (name === 'port') return slot?.ports[0]?.hostPort
  return slot && Object.hasOwn(slot.values, name) ? slot.values[name] : undefined
}
