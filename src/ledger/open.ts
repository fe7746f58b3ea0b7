import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { explain, StepError } from '../core/errors.ts'
import type { Ledger } from './ledger.ts'
import type { TlsFiles } from './mysql-address.ts'

/** Where a ledger is; the files are PEM, and for `mysqls://` only. */
export interface LedgerAddress {
  url: string
  ca?: string | undefined
  cert?: string | undefined
  key?: string | undefined
}

export interface OpenLedgerOptions {
  /** The folder that relative paths start from. */
  folder?: string
  /** Ends the opening only. */
  signal?: AbortSignal | undefined
}

/**
 * Opens the ledger at `sqlite:path`, a plain path or `mysql://user:password@host/database`
 * (`mysqls://` for TLS); the driver is loaded only now.
 */
export async function openLedger(
  address: string | LedgerAddress,
  options: OpenLedgerOptions = {},
): Promise<Ledger> {
  const { folder = '.', signal } = options
  const { url, ...files } = typeof address === 'string' ? { url: address } : address
  // One letter before the colon is a drive of Windows.
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(url)?.[1]?.toLowerCase()
  if (scheme === 'mysql' || scheme === 'mysqls') {
    const { openMysqlLedger } = await import('./mysql.ts')
    return await openMysqlLedger(url, { signal, tls: await readFiles(files, folder) })
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

async function readFiles(files: Omit<LedgerAddress, 'url'>, folder: string): Promise<TlsFiles> {
  const texts: TlsFiles = {}
  for (const name of ['ca', 'cert', 'key'] as const) {
    const path = files[name]
    if (path === undefined) continue
    texts[name] = await readFile(resolve(folder, path), 'utf8').catch((error: unknown) => {
      throw explain(`ledger: ${name}`, error)
    })
  }
  return texts
}
