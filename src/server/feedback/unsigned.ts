import { toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { unsignedLine } from '../../delivery/gate/break-glass.ts'
import { type ApplicationPlace, type Workplace, withApplication } from '../effects/environment.ts'

/** A ledger that does not answer must not hold up what people are told. */
const PATIENCE = 10_000

/** What went past a gate, one line each, for every message until somebody has signed it off. */
export type ReadUnsigned = (signal: AbortSignal) => Promise<string[]>

/** Of all applications that this server has a folder of. */
export function createUnsigned(
  applications: readonly ApplicationPlace[],
  place: Workplace,
  log: Log,
): ReadUnsigned {
  const keyOf = ({ folder, variables }: ApplicationPlace) => JSON.stringify([folder, variables])
  const places = [...new Map(applications.map((one) => [keyOf(one), one])).values()]
  return async (stopped) => {
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(PATIENCE)])
    const found = await Promise.all(
      places.map((one) =>
        withApplication(one, place, signal, async ({ app, ledger }) =>
          (await (await ledger()).unsigned({ app })).map(unsignedLine),
        ).catch((error: unknown) => {
          const { message } = toStepError(error)
          log.warn(`what went past a gate of ${one.folder} is not told: ${message}`)
          return []
        }),
      ),
    )
    return [...new Set(found.flat())]
  }
}
