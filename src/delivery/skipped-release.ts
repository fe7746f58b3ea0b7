import { z } from 'zod'
import type { Mark } from '../ledger/ledger.ts'
import { formatRelease } from './release-name.ts'

/** A release that a rollback passes by, and who said why. */
export const skippedReleases = z.object({
  release: z.string().describe('Release, as application@version'),
  by: z.string(),
  at: z.string(),
  reason: z.string(),
})

export function skippedRelease(mark: Mark): z.output<typeof skippedReleases> {
  const { by, at, reason } = mark
  return { release: formatRelease(mark), by, at, reason }
}
