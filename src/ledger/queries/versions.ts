/** x.y.z, each part a plain number of at most nine digits. Other versions do not count. */
const NUMERIC = /^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})$/

type Parts = readonly [x: number, y: number, z: number]

function parse(version: string): Parts | undefined {
  const match = NUMERIC.exec(version)
  return match ? [Number(match[1]), Number(match[2]), Number(match[3])] : undefined
}

/** The version after `last`: the first is 1.0.0; y and z go from 0 to 9. */
export function versionAfter(last: string | null): string {
  const parts = last === null ? undefined : parse(last)
  if (!parts) return '1.0.0'
  const [x, y, z] = parts
  if (z < 9) return `${x}.${y}.${z + 1}`
  if (y < 9) return `${x}.${y + 1}.0`
  return `${x + 1}.0.0`
}

/** Whether `version` is x.y.z and higher than `last`. */
export function raises(version: string, last: string | null): boolean {
  const a = parse(version)
  if (!a) return false
  const b = last === null ? undefined : parse(last)
  if (!b) return true
  return (a[0] - b[0] || a[1] - b[1] || a[2] - b[2]) > 0
}
