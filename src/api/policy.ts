import { z } from 'zod'

/** 200 of `GET policy/decisions`. */
export const decisionAnswer = z.object({
  allowed: z.boolean(),
  rule: z.string().nullable().describe('The grant that decides: grants[2]'),
  reasons: z.array(z.string()).describe('Why not, a line each'),
  help: z.array(z.string()).describe('Who may'),
})
