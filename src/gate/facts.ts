export interface ReleaseFact {
  app: string
  version: string
  digest: string
  /** Where it ends with a mark, files were built that are in no commit (core/commit.ts). */
  commit?: string | undefined
  /** Of the commit: a login, a mail address, or `Name <mail>`. */
  author: string | undefined
  bakedBy: string
  /** How it is known who baked it, and the id and mail in the signed token. */
  bakedIdentity?: string | undefined
  bakedById?: string | undefined
  bakedByMail?: string | undefined
}

/** One person's vote on a release in an environment; the ledger's approvals are votes. */
export interface ApprovalFact {
  by: string
  /** The id and mail in the signed token. */
  byId?: string | undefined
  byMail?: string | undefined
  /** Groups the person is in, by their signed token. */
  groups?: readonly string[] | undefined
  digest: string
  /** The config that was looked at; undefined where none was. */
  configRevision?: string | undefined
  /** Why nothing proves the vote any more; undefined: it is proven. */
  unproven?: string | undefined
  /** ISO 8601. */
  at: string
  /** How it is known who it was; `unverified` when it is not. */
  identity: string
  decision: 'approved' | 'rejected'
  reason?: string | undefined
}

/** The config revision of a vote about the image alone, as a scanner's is. */
export const ANY_CONFIG = 'any'

export interface ApprovalFacts<A extends ApprovalFact> {
  release: ReleaseFact
  environment: string
  /** What is about to be deployed; undefined where the environment runs with it already. */
  configRevision: string | undefined
  approvals: readonly A[]
  deployer: string
}

export function nameOf({ app, version }: ReleaseFact): string {
  return `${app}@${version}`
}

/** Text that a person wrote, within a sentence. */
export function oneLine(text: string | undefined): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the text must not steer a terminal
  return text?.replace(/[\s\x00-\x1f\x7f-\x9f]+/g, ' ').trim() || 'no reason given'
}
