/** What must be true before a deployment may start, in the order in which it is looked at. */
export const checkNames = [
  'lock',
  'identity',
  'mark',
  'migration',
  'order',
  'image',
  'config',
  'files',
  'gate',
  'hosts',
  'proxy',
  'older',
  'owner',
] as const

export type CheckName = (typeof checkNames)[number]

/**
 * Makes a check, which throws where something stands in the way: a deployment ends with the first
 * such error, a plan notes each and goes on without the result.
 */
export type Attempt = <T>(check: CheckName, work: () => Promise<T>) => Promise<T | undefined>
