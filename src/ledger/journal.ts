import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type ErrorCode, errorCodeOf, explain, toStepError } from '../core/errors.ts'
import { replaceFile } from '../core/files/atomic-file.ts'
import { readOwn, requireOwn } from '../core/files/own-files.ts'
import type { ConfigChangeStart, DeploymentEnd, Ledger } from './ledger.ts'

/** What was done and must still be recorded in the ledger. Recording it twice is recording it once. */
export type JournalEntry =
  | { kind: 'deployment-end'; deployment: string; end: DeploymentEnd & { finishedAt: string } }
  | { kind: 'config-change'; set: ConfigChangeStart & { request: string; at: string } }

/** Where outcomes wait on this machine while their ledger cannot be reached. */
export interface Journal {
  readonly folder: string
  /** Keeps an entry, synced to the disk; returns its file. */
  keep(entry: JournalEntry): Promise<string>
  forget(file: string): Promise<void>
  /** Records all that waits for the ledger, oldest first. */
  deliver(ledger: Ledger, report: JournalReport): Promise<void>
  /** How many entries wait for the ledger of this name. */
  waiting(ledger: string): Promise<number>
}

/** Gets a line for each entry. */
export interface JournalReport {
  delivered(line: string): void
  refused(line: string): void
}

interface Kept {
  version: 1
  /** The ledger's name; it has no secret. */
  ledger: string
  entry: JournalEntry
}

/** Errors of an entry that the ledger will never take. */
const FINAL: readonly ErrorCode[] = ['CONFLICT', 'NOT_FOUND', 'INPUT_INVALID']
const NAME = /^\d{13}-[0-9a-f-]{36}\.json$/

/** A file for each entry (0600, the folder 0700), complete or not there, and owned by this user. */
export function openJournal(folder: string, ledgerName: string): Journal {
  const entries = async () => {
    await requireOwn(folder)
    const names = await readdir(folder).catch((error: unknown) => {
      if (errorCodeOf(error) === 'ENOENT') return []
      throw explain(`reading the journal ${folder}`, error)
    })
    const found = await Promise.all(
      names
        .filter((name) => NAME.test(name))
        .sort()
        .map(async (name) => ({
          file: join(folder, name),
          kept: await readKept(join(folder, name)),
        })),
    )
    return found.filter(({ kept }) => kept?.ledger === ledgerName)
  }
  return {
    folder,
    async keep(entry) {
      const kept: Kept = { version: 1, ledger: ledgerName, entry }
      const name = `${Date.now()}-${randomUUID()}.json`
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 })
        await requireOwn(folder)
        const file = join(folder, name)
        await replaceFile(file, JSON.stringify(kept), { mode: 0o600 })
        return file
      } catch (error) {
        throw explain(`keeping what must still be recorded in the ledger, in ${folder}`, error)
      }
    },
    forget: (file) => rm(file, { force: true }),
    async deliver(ledger, report) {
      for (const { file, kept } of await entries()) {
        if (!kept) continue
        const what = describeEntry(kept.entry)
        try {
          await record(ledger, kept.entry)
          report.delivered(`recorded in the ledger now, as it could not be reached then: ${what}`)
        } catch (error) {
          // Only what the ledger will never take is put aside; all else is tried again.
          if (!FINAL.includes(toStepError(error).code)) throw error
          await rename(file, `${file}.refused`)
          report.refused(`${what}: ${toStepError(error).message}; kept in ${file}.refused`)
        }
        await rm(file, { force: true })
      }
    },
    waiting: async () => (await entries()).length,
  }
}

/** The same again changes nothing, so a second process may record it at the same time. */
async function record(ledger: Ledger, entry: JournalEntry): Promise<void> {
  if (entry.kind === 'deployment-end') await ledger.endDeployment(entry.deployment, entry.end)
  else await ledger.recordConfigChange(entry.set)
}

function describeEntry(entry: JournalEntry): string {
  if (entry.kind === 'deployment-end') {
    const { deployment, end } = entry
    return `deployment ${deployment} ${end.state} at ${end.finishedAt}`
  }
  const { environment, by, at, changes } = entry.set
  return `${by} changed ${changes.length} keys of ${environment} at ${at}`
}

/** Undefined for what is no entry, or was delivered by another process meanwhile. */
async function readKept(file: string): Promise<Kept | undefined> {
  try {
    const kept = JSON.parse(await readOwn(file)) as Kept
    return kept.version === 1 ? kept : undefined
  } catch {
    return undefined
  }
}
