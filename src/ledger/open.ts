import { resolve } from 'node:path'
import { StepError } from '../core/errors.ts'
import { readTlsFiles, type TlsFiles } from '../core/files/tls-files.ts'
import type { Ledger } from './ledger.ts'

/** Where a ledger is; the files are PEM, and for `mysqls://` only. */
export interface LedgerAddress extends TlsFiles {
  url: string
  /** The same database by the approvals' account; asked for when it is needed. */
  approvals?: string | undefined
}

export interface OpenLedgerOptions {
  /** The folder that relative paths start from. */
  folder?: string
  /** Ends the opening only. */
  signal?: AbortSignal | undefined
  /** Opens what is there, with an account that may only read: nothing is made, migrated or written. */
  readOnly?: boolean | undefined
}

/**
 * Opens the ledger at `sqlite:path`, a plain path or `mysql://user:password@host/database`
 * (`mysqls://` for TLS); the driver is loaded only now.
 */
export async function openLedger(
  address: string | LedgerAddress,
  options: OpenLedgerOptions = {},
): Promise<Ledger> {
  const { folder = '.', signal, readOnly } = options
  const place: LedgerAddress = typeof address === 'string' ? { url: address } : address
  const { url } = place
  // A single letter before the colon is a drive of Windows.
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(url)?.[1]?.toLowerCase()
  if (scheme === 'mysql' || scheme === 'mysqls') {
    const { openMysqlLedger } = await import('./database/mysql.ts')
    const tls = await readTlsFiles(place, { folder, owner: 'ledger' })
    return await openMysqlLedger(url, { signal, tls, approvals: approvalsOf(place), readOnly })
  }
  if (approvalsOf(place) !== undefined) {
    throw new StepError('INPUT_INVALID', 'ledger: approvals is for MySQL, not for SQLite', {
      hint: 'Take it out, or give the ledger a database: a file of SQLite has no accounts.',
    })
  }
  if (scheme !== undefined && scheme !== 'sqlite') {
    throw new StepError('INPUT_INVALID', `ledger: ${scheme}: is not known`, {
      hint: 'Use sqlite:path or mysql://user:password@host/database.',
    })
  }
  const path = scheme === 'sqlite' ? url.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '') : url
  if (!path.trim() || path.includes('\0')) {
    throw new StepError('INPUT_INVALID', 'ledger: no path', { hint: 'Use sqlite:path.' })
  }
  const { openSqliteLedger } = await import('./database/sqlite.ts')
  return await openSqliteLedger(resolve(folder, path), { signal, readOnly })
}

/** The variables in it are looked up when they are needed: few jobs have them. */
function approvalsOf(place: LedgerAddress): (() => string) | undefined {
  const { get, value } = Object.getOwnPropertyDescriptor(place, 'approvals') ?? {}
  return get || value !== undefined ? () => place.approvals ?? '' : undefined
}
