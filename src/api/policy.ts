import { z } from 'zod'

/** The query of `GET policy/decisions`. */
export const decisionQuery = z.strictObject({
  verb: z.string(),
  app: z.string(),
  env: z.string(),
  source: z.string().optional().describe('Of a promotion: the environment it comes from'),
})

/** 200 of `GET policy/decisions`. */
export const decisionAnswer = z.object({
  allowed: z.boolean(),
  rule: z.string().nullable().describe('The grant that decides: grants[2]'),
  reasons: z.array(z.string()).describe('Why not, a line each'),
  help: z.array(z.string()).describe('Who may'),
})
