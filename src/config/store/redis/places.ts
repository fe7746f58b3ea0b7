import { StepError } from '../../../core/errors.ts'
import type { ConfigChange } from '../store.ts'
import { ancestors, decode } from './layout.ts'

/** The commands that read single keys; a server and a cluster both have them. */
export interface KeyCommands {
  type(key: string): Promise<string>
  getBuffer(key: string): Promise<Buffer | null>
  hgetBuffer(key: string, field: string): Promise<Buffer | null>
}

/** The receiver of the writing commands: a transaction, or a cluster. */
export interface WriteCommands {
  set(key: string, value: string): unknown
  del(key: string): unknown
  hset(key: string, field: string, value: string): unknown
  hdel(key: string, field: string): unknown
}

/** The places in Redis of a key of config. */
interface Place {
  key: string
  /** The type of the Redis key of that name. */
  type: string
  /** The value as a string. */
  own: Buffer | null
  /** The values as fields of hashes above it, the nearest first. */
  fields: { hash: string; field: string; value: Buffer }[]
  /** The folder of the key, if it is a hash: a new key becomes its field. */
  parent: string | undefined
}

/** All keys of Redis that decide on the places of these keys of config. */
export function placesToWatch(keys: readonly string[]): string[] {
  return [...new Set(keys.flatMap((key) => [key, ...ancestors(key)]))]
}

export async function findPlaces(redis: KeyCommands, keys: readonly string[]): Promise<Place[]> {
  const watched = placesToWatch(keys)
  const types = new Map(
    await Promise.all(watched.map(async (key) => [key, await redis.type(key)] as const)),
  )
  return Promise.all(
    keys.map(async (key) => {
      const type = types.get(key) ?? 'none'
      const hashes = ancestors(key).filter((above) => types.get(above) === 'hash')
      const found = await Promise.all(
        hashes.map(async (hash) => {
          const field = key.slice(hash.length + 1)
          return { hash, field, value: await redis.hgetBuffer(hash, field) }
        }),
      )
      const [nearest] = ancestors(key)
      return {
        key,
        type,
        own: type === 'string' ? await redis.getBuffer(key) : null,
        fields: found.flatMap(({ value, ...rest }) => (value ? [{ ...rest, value }] : [])),
        parent: nearest !== undefined && types.get(nearest) === 'hash' ? nearest : undefined,
      }
    }),
  )
}

export function valuesOf(name: string, places: readonly Place[]): Map<string, string> {
  const values = new Map<string, string>()
  for (const { key, own, fields } of places) {
    const value = own ?? fields[0]?.value
    if (value) values.set(key, decode(name, key, value))
  }
  return values
}

/** Writes each key where it is; a new key in the layout of its folder. */
export function applyPlaces(
  name: string,
  redis: WriteCommands,
  places: readonly Place[],
  changes: readonly ConfigChange[],
): unknown[] {
  const byKey = new Map(places.map((place) => [place.key, place]))
  return changes.flatMap(({ key, value }) => {
    const place = byKey.get(key)
    if (place === undefined) throw new StepError('INTERNAL', `${key} was not read before`)
    if (value === null) return remove(redis, place)
    const [field] = place.fields
    if (place.own) return [redis.set(key, value)]
    if (field) return [redis.hset(field.hash, field.field, value)]
    if (place.type !== 'none') {
      throw new StepError('INPUT_INVALID', `${name}: ${key} is a ${place.type}, not a value`, {
        hint: 'Keys below it can be set; it itself cannot.',
      })
    }
    const { parent } = place
    return [
      parent === undefined
        ? redis.set(key, value)
        : redis.hset(parent, key.slice(parent.length + 1), value),
    ]
  })
}

/** Removes it from all places: otherwise a shadowed value would become visible. */
function remove(redis: WriteCommands, { key, own, fields }: Place): unknown[] {
  return [
    ...(own ? [redis.del(key)] : []),
    ...fields.map(({ hash, field }) => redis.hdel(hash, field)),
  ]
}
