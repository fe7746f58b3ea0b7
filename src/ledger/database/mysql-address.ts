import { isIP } from 'node:net'
import { StepError } from '../../core/errors.ts'
import type { TlsTexts } from '../../core/files/tls-files.ts'

export interface MysqlAddress {
  /** Without user and password. */
  name: string
  host: string
  port: number
  user: string
  password: string
  database: string
  ssl: (TlsTexts & { rejectUnauthorized: true; verifyIdentity: true }) | undefined
}

/** Messages never show what is between `mysql://` and `@`: it may be a password. */
export function parseMysqlAddress(text: string, tls: TlsTexts | undefined): MysqlAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const database = decode(url?.pathname.slice(1) ?? '')
  if (!url?.hostname || !url.username || !database || database.includes('/') || url.search) {
    throw new StepError('INPUT_INVALID', 'ledger: this is not the address of a MySQL database', {
      hint: 'Write mysql://user:password@host:3306/database; escape special characters as in URLs.',
    })
  }
  const secure = url.protocol === 'mysqls:'
  if (tls && Object.keys(tls).length > 0 && !secure) {
    throw new StepError('INPUT_INVALID', 'ledger: certificates are given, but not TLS', {
      hint: 'Write mysqls:// instead of mysql://.',
    })
  }
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (secure && isIP(host)) {
    // mysql2 would check the certificate for the name localhost then.
    throw new StepError('INPUT_INVALID', `ledger: ${host} is no name a certificate could be for`, {
      hint: "Write the server's name in mysqls://, as its certificate has it.",
    })
  }
  const port = Number(url.port || 3306)
  return {
    name: `${url.protocol}//${url.hostname}:${port}/${database}`,
    host,
    port,
    user: decode(url.username),
    password: decode(url.password),
    database,
    ssl: secure ? { ...tls, rejectUnauthorized: true, verifyIdentity: true } : undefined,
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
