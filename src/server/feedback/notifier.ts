import type { HttpClient } from '../../core/http/client.ts'
import { compileTemplate } from '../effects/templates.ts'
import type { LedgerFacts, Notice, NoticeKind } from './notice.ts'
import type { ReceiverSettings } from './receiver-settings.ts'
import { receivers } from './receivers.ts'

export interface Notifier {
  wants(kind: NoticeKind): boolean
  /**
   * Throws UNAVAILABLE, retryable, when the receiver is away or limits the rate; any other error is
   * final. Deployments past a gate come first in each message, whatever the template is.
   */
  send(notice: Notice, signal: AbortSignal, facts?: Partial<LedgerFacts>): Promise<void>
}

export function createNotifier(
  name: string,
  settings: ReceiverSettings,
  http: HttpClient,
): Notifier {
  const { kind, url, secret, on, template } = settings
  const render = compileTemplate(template)
  const deliver = receivers[kind]
  return {
    wants: (wanted) => on.includes(wanted),
    async send(notice, signal, { unsigned = [], auditHeads = [] } = {}) {
      const { what, route, text } = notice
      const message = [...unsigned, render({ ...notice.facts, what, route, text })].join('\n')
      await deliver({ http, name, url, secret, message, notice, auditHeads, signal })
    },
  }
}
