import { resolve } from 'node:path'
import { StepError } from '../core/errors.ts'
import type { Ledger } from './ledger.ts'

export interface OpenLedgerOptions {
  /** The folder that relative paths start from. */
  folder?: string
  /** Ends the opening only. */
  signal?: AbortSignal | undefined
}

/**
 * Opens the ledger at `sqlite:path`, a plain path or `mysql://user:password@host/database`; the
 * driver is loaded only now.
 */
export async function openLedger(url: string, options: OpenLedgerOptions = {}): Promise<Ledger> {
  const { folder = '.', signal } = options
  // One letter before the colon is a drive of Windows.
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(url)?.[1]?.toLowerCase()
  if (scheme === 'mysql') {
    const { openMysqlLedger } = await import('./mysql.ts')
    return await openMysqlLedger(url, { signal })
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
  const { openSqliteLedger } = await import('./sqlite.ts')
  return await openSqliteLedger(resolve(folder, path), { signal })
}
