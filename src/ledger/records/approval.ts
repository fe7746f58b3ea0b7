import type { Digest } from '../../core/digest.ts'

export const approvalDecisions = ['approved', 'rejected'] as const
export type ApprovalDecision = (typeof approvalDecisions)[number]

/** A person's decision on a release in an environment. Of each person the newest counts. */
export interface Approval {
  id: string
  app: string
  environment: string
  version: string
  /** The approval is for this image and no other. */
  digest: Digest
  decision: ApprovalDecision
  by: string
  /** The person's id on the CI system, mail and groups, as stated in their signed token. */
  byId: string | undefined
  byMail: string | undefined
  groups: readonly string[]
  /** How it is known who it was: the issuer of a signed token, or `unverified`. */
  identity: string
  /** The hash of that token (core/token-hash.ts). Each token is used once. */
  tokenHash: string | undefined
  /** The config revision it was given for; undefined: none was looked at. */
  configRevision: string | undefined
  reason: string | undefined
  /** ISO 8601, UTC. */
  at: string
}

type Proof = Pick<Approval, 'byId' | 'byMail' | 'tokenHash' | 'configRevision'>

/** What is proven of the person, and the config that was looked at, are optional. */
export type ApprovalStart = Omit<Approval, 'id' | 'at' | keyof Proof> & Partial<Proof>

/** A secret: the signed token of the decision, and the issuer's key it was verified with (a JWK). */
export interface ApprovalProof {
  token: string
  publicKey: string
}

export interface ProvenApproval {
  approval: Approval
  /** Undefined where none was kept. */
  proof: ApprovalProof | undefined
}
