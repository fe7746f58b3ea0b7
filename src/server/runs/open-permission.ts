import { StepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Ledger } from '../../ledger/ledger.ts'
import { openLedger } from '../../ledger/open.ts'
import { compilePolicy } from '../../policy/compile.ts'
import { decide } from '../../policy/decide.ts'
import { auditStart } from '../audit.ts'
import type { Closing } from '../dependencies.ts'
import { findToken } from '../sessions/api-tokens.ts'
import { openSessionStore, type StoreOptions } from '../sessions/store.ts'
import type { ServerSettings } from '../settings/settings.ts'
import { createPermission, type Permission } from './permission.ts'

interface OpenPermissionOptions {
  settings: Pick<ServerSettings, 'policy' | 'ledger' | 'folder'>
  sessions: StoreOptions
  log: Log
}

/** By the policy, the sessions and the ledger of this server; without them no run begins here. */
export function openPermission(
  { settings: { policy: rules, ledger: place, folder }, sessions, log }: OpenPermissionOptions,
  closing: Closing,
): Permission {
  if (rules === undefined || place === undefined) {
    return async () => {
      throw new StepError('FORBIDDEN', 'the server that was to run it has no policy or no ledger', {
        hint: 'Servers that share a queue need the same sessions, policy and ledger.',
      })
    }
  }
  const policy = compilePolicy(rules)
  const store = openSessionStore(sessions)
  // Opened with the first run: a ledger that is away stops no webhook.
  let opened: Promise<Ledger> | undefined
  const ledger = () => {
    opened ??= openLedger(place, { folder }).catch((error: unknown) => {
      opened = undefined
      throw error
    })
    return opened
  }
  closing.push(async () => (await opened)?.close())
  return createPermission({
    decide: (subject, question) => decide(policy, subject, question),
    hasSession: async (id) => {
      const found = await store.findById(id)
      return found !== undefined && found.end > Date.now()
    },
    findToken: async (hash) => findToken(await ledger(), hash),
    record: async (entry) => (await ledger()).recordAudit(auditStart(entry)),
    log,
  })
}
