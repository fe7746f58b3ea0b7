import type { ApprovalFact } from '../../src/gate/facts.ts'
import { evaluateGate, type GateFacts } from '../../src/gate/rules.ts'
import { gateSettings } from '../../src/gate/settings.ts'

export const DIGEST = `sha256:${'a'.repeat(64)}`
export const OTHER = `sha256:${'b'.repeat(64)}`
/** The config that is about to be deployed. */
export const REVISION = `sha256:${'c'.repeat(64)}`
export const ISSUER = 'https://gitlab.example.com'

export const vote = (by: string, more: Partial<ApprovalFact> = {}): ApprovalFact => ({
  by,
  digest: DIGEST,
  configRevision: REVISION,
  at: '2026-11-23T08:00:00.000Z',
  identity: ISSUER,
  decision: 'approved',
  reason: 'looks good',
  ...more,
})
export const release = {
  app: 'webapi',
  version: '1.4.2',
  digest: DIGEST,
  author: 'Zhang Wei <zhang.wei@example.com>',
  bakedBy: 'dev-baker',
  bakedIdentity: ISSUER,
}
const facts = (more: Partial<GateFacts> = {}): GateFacts => ({
  release,
  environment: 'production',
  configRevision: REVISION,
  approvals: [],
  before: { environment: 'staging', verified: true, finishedAt: '2026-11-22T08:00:00.000Z' },
  now: new Date('2026-11-23T09:00:00Z'),
  deployer: 'ops-wang',
  ...more,
})
export const evaluate = (gate: object, more: Partial<GateFacts> = {}, allowUnverified = false) =>
  evaluateGate(gateSettings.parse(gate), facts(more), { allowUnverified })
