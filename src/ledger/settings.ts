import { z } from 'zod'
import { tlsFileFields } from '../core/settings/schema.ts'

/** `ledger:` in crosscloud.yml: its URL, or that and what TLS needs. */
export const ledgerSettings = z.union([
  z.string().transform((url) => ({ url })),
  z.strictObject({
    url: z.string().describe('sqlite:FILE, mysql://… or mysqls://…'),
    approvals: z
      .string()
      .optional()
      .describe(
        'The same database with another account, mysql://… or mysqls://…, which alone writes approvals and reads their tokens',
      ),
    ...tlsFileFields,
  }),
])
