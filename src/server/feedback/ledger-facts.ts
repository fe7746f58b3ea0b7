import { isStepError, toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { unsignedLine } from '../../delivery/gate/break-glass.ts'
import type { Ledger } from '../../ledger/ledger.ts'
import { type ApplicationFolder, withApplication } from '../effects/application.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import type { AuditHeadOf, LedgerFacts } from './notice.ts'

/** A ledger that does not respond must not delay notifications. */
const TIMEOUT = 10_000

export type ReadLedgerFacts = (signal: AbortSignal) => Promise<LedgerFacts>

/** Reads the ledgers of all applications that the settings name. */
export function createLedgerFacts(
  applications: readonly ApplicationFolder[],
  worker: WorkerEnvironment,
  log: Log,
): ReadLedgerFacts {
  const keyOf = ({ folder, variables }: ApplicationFolder) => JSON.stringify([folder, variables])
  const distinct = [
    ...new Map(applications.map((application) => [keyOf(application), application])).values(),
  ]
  return async (stopped) => {
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(TIMEOUT)])
    const found = await Promise.all(
      distinct.map((application) =>
        withApplication(application, worker, signal, async ({ app, ledger }) => {
          const opened = await ledger()
          const unsigned = (await opened.unsigned({ app })).map(unsignedLine)
          return { unsigned, auditHeads: await headsOf(opened) }
        }).catch((error: unknown) => {
          const { message } = toStepError(error)
          log.warn(`deployments past a gate of ${application.folder} are unknown: ${message}`)
          return { unsigned: [], auditHeads: [] }
        }),
      ),
    )
    const heads = found.flatMap(({ auditHeads }) => auditHeads)
    return {
      unsigned: [...new Set(found.flatMap(({ unsigned }) => unsigned))],
      auditHeads: [...new Map(heads.map((head) => [head.ledger, head])).values()],
    }
  }
}

/** None before the first record, and none where this account may not read the audit log. */
async function headsOf(ledger: Ledger): Promise<AuditHeadOf[]> {
  const head = await ledger.auditHead().catch((error: unknown) => {
    if (isStepError(error, 'UNAUTHORIZED')) return undefined
    throw error
  })
  return head && head.number > 0 ? [{ ledger: await ledger.id(), ...head }] : []
}
