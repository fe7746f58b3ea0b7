import { changedKeys, isVariable, keptKeys } from '../../config/rules/revision.ts'
import { compareBytes } from '../../config/store/keys.ts'
import type { Deployment } from '../../ledger/ledger.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { instanceLabels, isAsLabelled } from '../../targets/labels.ts'
import { slotOf } from '../../targets/slot.ts'
import { fillSlotValues } from '../../targets/slot-values.ts'
import type { Instance } from '../../targets/target.ts'
import type { Rendering } from '../config/rendering.ts'
import type { Context } from '../context.ts'
import type { Plan } from './schema.ts'

type Config = Plan['config']

/** What changes of the config: keys against what the ledger kept, files against what runs. */
export async function planConfig(
  current: Deployment | undefined,
  rendering: Rendering | undefined,
  running: readonly Instance[],
  environment: EnvironmentSettings,
  context: Context,
): Promise<Config> {
  const before = current?.configRevision ?? null
  const after = rendering?.revision ?? null
  const then =
    before === null ? undefined : await (await context.ledger()).findConfigRevision(before)
  const known = then !== undefined
  const keys = known && rendering ? planKeys(then, rendering) : []
  return {
    before,
    after,
    known,
    keys,
    files: rendering ? planFiles(running, rendering, environment) : [],
  }
}

function planKeys(then: string, { description, config }: Rendering): Config['keys'] {
  const { added, changed, removed, unknown } = changedKeys(then, description)
  const kept = keptKeys(then)
  const withheld = new Set(kept.withheld)
  const before = (key: string) => {
    const value = kept.values.get(key)
    if (value === undefined) return withheld.has(key) ? '(secret, not kept)' : null
    // What is a secret now may have been one in clear then.
    return config.show(key, value, config.isSecret(key) || config.isSecret(key, value))
  }
  const after = (key: string) => {
    if (isVariable(key)) return '(secret, of the job)'
    const value = config.stored.get(key)
    return value === undefined ? null : config.show(key, value)
  }
  const of = (change: Config['keys'][number]['change'], names: readonly string[]) =>
    names.map((key) => ({
      key,
      change,
      before: change === 'added' ? null : before(key),
      after: change === 'removed' ? null : after(key),
    }))
  const all = [
    ...of('added', added),
    ...of('changed', changed),
    ...of('removed', removed),
    ...of('unknown', unknown),
  ]
  return all.sort((a, b) => compareBytes(a.key, b.key))
}

/** By the hashes that each instance is labelled with; an instance without them says nothing. */
function planFiles(
  running: readonly Instance[],
  { files }: Rendering,
  environment: EnvironmentSettings,
): Config['files'] {
  const found = new Map<string, Config['files'][number]['change']>()
  for (const { labels } of running) {
    const label = labels[instanceLabels.configFiles]
    if (label === undefined) continue
    // What differs between the slots of a container is no change of its config.
    const inSlot = (content: Buffer) => fillSlotValues(content, environment, slotOf(labels))
    const then = hashesOf(label)
    for (const { path, content } of files) {
      if (!then.has(path)) found.set(path, 'added')
      else if (!isAsLabelled(inSlot(content), then.get(path))) found.set(path, 'changed')
    }
    const now = new Set(files.map(({ path }) => path))
    for (const path of then.keys()) if (!now.has(path)) found.set(path, 'removed')
  }
  return [...found]
    .sort(([a], [b]) => compareBytes(a, b))
    .map(([path, change]) => ({ path, change }))
}

/** A label may have been written by anybody: what is no map of hashes counts as none. */
function hashesOf(label: string): Map<string, unknown> {
  try {
    const value: unknown = JSON.parse(label)
    return new Map(Object.entries(value ?? {}))
  } catch {
    return new Map()
  }
}
