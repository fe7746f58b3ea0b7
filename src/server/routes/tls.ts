import type { Server } from 'node:https'
import { createSecureContext } from 'node:tls'
import { describe, StepError } from '../../core/errors.ts'
import { readTlsFiles } from '../../core/files/tls-files.ts'
import type { Log } from '../../core/log.ts'
import type { ServerSettings } from '../settings/settings.ts'

type TlsFiles = NonNullable<ServerSettings['listen']['tls']>

export interface TlsPair {
  cert: string
  key: string
  minVersion: 'TLSv1.2'
}

/** INPUT_INVALID when they do not belong together. */
export async function readTls(files: TlsFiles, folder: string): Promise<TlsPair> {
  const texts = await readTlsFiles(files, { folder, owner: 'listen.tls' })
  const pair: TlsPair = { ...texts, minVersion: 'TLSv1.2' }
  try {
    createSecureContext(pair)
  } catch (error) {
    throw new StepError(
      'INPUT_INVALID',
      `listen.tls: ${files.cert} and ${files.key}: ${describe(error)}`,
      {
        hint: 'Both must be PEM files, and the key must be the one of the certificate.',
        cause: error,
      },
    )
  }
  return pair
}

const EVERY = 5000

/** Uses a renewed certificate for new connections, without a restart. */
export function followRenewal(
  server: Pick<Server, 'setSecureContext'>,
  { pair, files, folder, log }: { pair: TlsPair; files: TlsFiles; folder: string; log: Log },
): () => void {
  let known = pair
  let lastProblem = ''
  const look = async () => {
    try {
      const now = await readTls(files, folder)
      if (now.cert === known.cert && now.key === known.key) return
      server.setSecureContext(now)
      known = now
      lastProblem = ''
      log.info(`${files.cert}: the new certificate is used`)
    } catch (error) {
      // Perhaps only one of the two files is written yet.
      const problem = describe(error)
      if (problem !== lastProblem) log.warn(`${problem}; the old certificate is still used`)
      lastProblem = problem
    }
  }
  const timer = setInterval(look, EVERY)
  return () => clearInterval(timer)
}
