import { planSchema } from '../delivery/plan/schema.ts'

/** What of a plan a later job reads as variables or outputs. */
export const planOutputs = planSchema.pick({
  release: true,
  environment: true,
  digest: true,
  ready: true,
  hash: true,
})
