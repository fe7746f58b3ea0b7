import { z } from 'zod'

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
    ca: z.string().optional().describe('PEM file of the authority that signed its certificate'),
    cert: z.string().optional().describe('PEM file of our own certificate'),
    key: z.string().optional().describe("PEM file of that certificate's key"),
  }),
])
