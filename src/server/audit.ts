import type { AuditStart } from '../ledger/ledger.ts'

/** An act or a refusal, as the parts of the server tell of it. */
export interface AuditEntry {
  subject: string
  via: 'session' | 'token'
  verb: string
  object: Readonly<Record<string, string>>
  decision: 'allowed' | 'refused'
  rule?: string | undefined
  reason?: string | undefined
  plan?: string | undefined
  run?: string | undefined
  request?: string | undefined
  address?: string | undefined
}

const LONGEST_NAME = 255
const LONGEST_TEXT = 16 * 1024

/** A reason cannot look like another input. */
const quoted = (value: string) => (/^[\w.@:/+-]+$/.test(value) ? value : JSON.stringify(value))

export function auditStart({ subject, object, ...entry }: AuditEntry): AuditStart {
  const { app, environment, ...more } = object
  const text = Object.entries(more).map(([name, value]) => `${name} ${quoted(value)}`)
  return {
    ...entry,
    subject: subject.slice(0, LONGEST_NAME),
    object: {
      ...whereOf({ app, environment }),
      ...(text.length > 0 && { text: text.join(', ').slice(0, LONGEST_TEXT) }),
    },
  }
}

/** The ledger has names there: what is of all of them has none. */
const whereOf = (where: { app: string | undefined; environment: string | undefined }) =>
  Object.fromEntries(Object.entries(where).filter(([, name]) => name !== undefined && name !== '*'))
