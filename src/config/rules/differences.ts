import { compareBytes } from '../store/keys.ts'
import type { OpenedSnapshot } from './encryption.ts'

/** A key that differs between two environments. */
export interface Difference {
  key: string
  /** `unknown`: it is in both, but a value cannot be decrypted. */
  kind: 'left-only' | 'right-only' | 'different' | 'unknown'
}

/** Keys that are not the same on both sides, compared in clear, sorted. */
export function compareSnapshots(left: OpenedSnapshot, right: OpenedSnapshot): Difference[] {
  const has = ({ values, locked }: OpenedSnapshot, key: string) =>
    values.has(key) || locked.has(key)
  const keys = new Set(
    [left, right].flatMap(({ values, locked }) => [...values.keys(), ...locked.keys()]),
  )
  const differences: Difference[] = []
  for (const key of [...keys].sort(compareBytes)) {
    if (!has(right, key)) differences.push({ key, kind: 'left-only' })
    else if (!has(left, key)) differences.push({ key, kind: 'right-only' })
    else if (left.locked.has(key) || right.locked.has(key)) {
      differences.push({ key, kind: 'unknown' })
    } else if (left.values.get(key) !== right.values.get(key)) {
      differences.push({ key, kind: 'different' })
    }
  }
  return differences
}
