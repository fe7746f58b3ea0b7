import { createHash } from 'node:crypto'
import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { JWK } from 'jose'
import { z } from 'zod'
import { toStepError } from '../core/errors.ts'
import { stageFile } from '../core/files/atomic-file.ts'
import { readOwn, requireOwn } from '../core/files/own-files.ts'
import type { Log } from '../core/log.ts'
import { hashOfToken } from '../core/token-hash.ts'

/** A session and the key that it is bound to. */
const kept = z.object({
  session: z.string(),
  expiresAt: z.string(),
  key: z.record(z.string(), z.unknown()),
})

export interface KeptSession {
  session: string
  expiresAt: string
  key: JWK
}

/**
 * A job's ID token starts a session once, and a job may run several steps: the next one finds the
 * session here, in a file that only this user can read.
 */
export interface SessionFile {
  read(): Promise<KeptSession | undefined>
  write(session: KeptSession): Promise<void>
}

export function sessionFile(
  folder: string,
  { server, token }: { server: string; token: string },
  log: Pick<Log, 'debug'>,
): SessionFile {
  const name = createHash('sha256')
    .update(`${server} ${hashOfToken(token)}`)
    .digest('hex')
  const file = join(folder, 'sessions', `${name}.json`)
  return {
    async read() {
      try {
        await requireOwn(dirname(file))
        return kept.parse(JSON.parse(await readOwn(file))) as KeptSession
      } catch {
        return undefined
      }
    },
    async write(session) {
      try {
        await mkdir(dirname(file), { recursive: true, mode: 0o700 })
        await requireOwn(dirname(file))
        const content = JSON.stringify(session)
        const staged = await stageFile(file, content, { mode: 0o600, durable: false })
        await rename(staged, file).catch(async (error: unknown) => {
          await rm(staged, { force: true })
          throw error
        })
      } catch (error) {
        // The next step of this job cannot start a session of its own then, where its token is the same.
        log.debug(`the session is not kept: ${toStepError(error).message}`)
      }
    },
  }
}
