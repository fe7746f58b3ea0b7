import type { Digest } from '../../core/digest.ts'

/** One immutable build, written `webapi@1.4.2`. */
export interface Release {
  app: string
  version: string
  digest: Digest
  baseDigest: Digest | undefined
  /** hex */
  warMd5: string
  /** hex */
  warSha256: string
  /** bytes */
  warSize: number
  /** The first repository it was pushed to, without tag. */
  repository: string
  commit: string | undefined
  /** When the commit was made; ISO 8601, UTC. */
  committedAt: string | undefined
  branch: string | undefined
  author: string | undefined
  pipelineUrl: string | undefined
  jobUrl: string | undefined
  reason: string | undefined
  bakedBy: string
  /** How it is known who baked it: the issuer of a signed token, or `unverified`. */
  bakedIdentity: string | undefined
  /** The person's id on the CI system, and mail, as stated in their signed token. */
  bakedById: string | undefined
  bakedByMail: string | undefined
  /** ISO 8601, UTC, milliseconds. */
  bakedAt: string
}
