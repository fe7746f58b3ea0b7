import { instanceLabels } from './labels.ts'

/** What the last deployment to a host has left there. */
export interface Remains {
  /** Of the instances: `webapi-test`. */
  name: string
  /** Of its own instance, the newest. */
  labels: Readonly<Record<string, string>>
  /** What the instances show where it was cut off; undefined where there is nothing to repair. */
  cutOff: string | undefined
  /** What runs now. */
  running: readonly { name: string; labels: Readonly<Record<string, string>> }[]
}

/**
 * How the deployment of these labels left a host, as the ledger says. Undefined where it succeeded, or
 * never reported its end.
 */
export type EndingOf = (
  host: string,
  labels: Readonly<Record<string, string>>,
) => Promise<string | undefined>

/** In words: a deployment whose failure is on record was not cut off. */
export function describeRemains(
  { name, cutOff, running }: Remains,
  ending: string | undefined,
): string | undefined {
  if (ending === undefined) return cutOff && `${name}: ${cutOff}`
  const now = running.map(({ name, labels }) => {
    const version = labels[instanceLabels.version]
    return version === undefined ? name : `${name} of ${version}`
  })
  const runs = now.length === 0 ? 'nothing runs there' : `there runs ${now.join(' and ')}`
  return `${name}: ${ending}; now ${runs}`
}
