import { z } from 'zod'

/** With fewer there would be no way back. */
export const FEWEST_IMAGES = 2
export const MOST_IMAGES = 1000

/** `prune:` of an environment. */
export const pruneSettings = z.strictObject({
  keep: z
    .number()
    .int()
    .min(FEWEST_IMAGES)
    .max(MOST_IMAGES)
    .describe('How many images stay: of the newest, and of the last deployed to each environment'),
})
