import { toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { unsignedLine } from '../../delivery/gate/break-glass.ts'
import { type ApplicationFolder, withApplication } from '../effects/application.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'

/** A ledger that does not respond must not delay notifications. */
const TIMEOUT = 10_000

/** Deployments past a gate, one line each: every message has them until they are signed off. */
export type ReadUnsigned = (signal: AbortSignal) => Promise<string[]>

/** Reads the deployments past a gate of all applications that the settings name. */
export function createUnsigned(
  applications: readonly ApplicationFolder[],
  worker: WorkerEnvironment,
  log: Log,
): ReadUnsigned {
  const keyOf = ({ folder, variables }: ApplicationFolder) => JSON.stringify([folder, variables])
  const distinct = [
    ...new Map(applications.map((application) => [keyOf(application), application])).values(),
  ]
  return async (stopped) => {
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(TIMEOUT)])
    const found = await Promise.all(
      distinct.map((application) =>
        withApplication(application, worker, signal, async ({ app, ledger }) =>
          (await (await ledger()).unsigned({ app })).map(unsignedLine),
        ).catch((error: unknown) => {
          const { message } = toStepError(error)
          log.warn(`deployments past a gate of ${application.folder} are unknown: ${message}`)
          return []
        }),
      ),
    )
    return [...new Set(found.flat())]
  }
}
