import { z } from 'zod'

/** The query of `GET policy/decisions`. */
export const decisionQuery = z.strictObject({
  verb: z.string(),
  app: z.string(),
  env: z.string(),
  source: z.string().optional().describe('Of a promotion: the environment it comes from'),
})

/** 200 of `GET policy/decisions`. */
export interface DecisionAnswer {
  allowed: boolean
  /** The grant that decides: `grants[2]`. */
  rule: string | null
  reasons: readonly string[]
  /** Who may. */
  help: readonly string[]
}
