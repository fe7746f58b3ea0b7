import { link, mkdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { JWK } from 'jose'
import { type ClientKey, createKey, keyOf } from '../client/key.ts'
import { errorCodeOf, StepError } from '../core/errors.ts'
import { stageFile } from '../core/files/atomic-file.ts'
import { readOwn, requireOwn } from '../core/files/own-files.ts'

export interface AgentKey extends ClientKey {
  /** RFC 7638: what an API token is bound to. */
  thumbprint: string
}

/** The key of this agent, in a file that only this user can read; made on first use. */
export async function openAgentKey(stateFolder: string): Promise<AgentKey> {
  const file = join(stateFolder, 'agent', 'key.json')
  const folder = dirname(file)
  await requireOwn(folder)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const jwk = (await readKey(file)) ?? (await makeKey(file))
  const { calculateJwkThumbprint } = await import('jose')
  return { ...(await keyOf(jwk)), thumbprint: await calculateJwkThumbprint(jwk) }
}

async function readKey(file: string): Promise<JWK | undefined> {
  let text: string
  try {
    text = await readOwn(file)
  } catch (error) {
    if (errorCodeOf(error) === 'ENOENT') return undefined
    throw error
  }
  try {
    return JSON.parse(text) as JWK
  } catch {
    throw new StepError('INPUT_INVALID', `${file} is not the key of an agent`, {
      hint: 'Remove it, and make a token for the new key: `crosscloud agent --key`.',
    })
  }
}

/** Of two processes that make it at the same time both use the first. */
async function makeKey(file: string): Promise<JWK> {
  const { jwk } = await createKey()
  const staged = await stageFile(file, JSON.stringify(jwk), { mode: 0o600 })
  try {
    await link(staged, file)
    return jwk
  } catch (error) {
    if (errorCodeOf(error) !== 'EEXIST') throw error
    return (await readKey(file)) ?? jwk
  } finally {
    await rm(staged, { force: true })
  }
}
