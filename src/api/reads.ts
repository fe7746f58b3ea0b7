import { z } from 'zod'

/** A page of a list: `?limit=&cursor=`. */
export const pageOf = <Item extends z.ZodType>(item: Item) =>
  z.object({
    items: z.array(item),
    next: z.string().nullable().describe('The cursor of the next page; null: there is none'),
  })

const moment = z.iso.datetime()
const text = z.string().optional()

/** An item of `GET applications`. */
const problem = z
  .object({ code: z.string() })
  .describe('Why the application could not be read; nothing else of it is here')

export const application = z.object({
  app: z.string(),
  environments: z.array(z.string()).describe('Those that the caller may view'),
  problem: problem.optional(),
})

const environment = z.object({
  name: z.string(),
  from: z.string().nullable().describe('The environment that its releases come from'),
  image: z.string().nullable().describe('Its image repository'),
  url: z.string().nullable(),
  hosts: z.array(z.string()),
  gated: z.boolean().describe('Whether a gate stands before it'),
})

/** 200 of `GET applications/:app`. */
export const applicationInFull = z.object({
  app: z.string(),
  commit: z.string().describe('Of the branch that counts'),
  environments: z.array(environment),
})

const left = z.object({ host: z.string(), deployment: z.string(), version: z.string() })

/** What runs there; before anything was deployed only the two names. */
/** In the place of the cells of an application that cannot be read. */
export const unreadCells = z.object({
  app: z.string(),
  environments: z.array(z.string()).describe('None'),
  problem,
})

export const statusCell = z.object({
  app: z.string(),
  environment: z.string(),
  current: z
    .object({
      deployment: z.string(),
      version: z.string(),
      digest: z.string(),
      configRevision: z.string(),
      kind: z.enum(['deploy', 'rollback']),
      by: z.string(),
      since: moment,
      verified: z.boolean(),
    })
    .optional()
    .describe('What runs: the newest deployment that succeeded'),
  missing: z.array(z.string()).optional().describe('Hosts that it has left out'),
  partial: z.array(left).optional().describe('Hosts that a failed deployment was left on'),
  unsettled: z.array(left).optional().describe('Hosts of which it is not known what they run'),
  behind: z.int().min(0).optional().describe('Releases recorded after the one that runs'),
  unsigned: z
    .array(
      z.object({
        app: z.string(),
        environment: z.string(),
        deployment: z.string(),
        by: z.string(),
        reason: z.string(),
        at: moment,
        due: moment,
      }),
    )
    .optional()
    .describe('Deployments past the gate that nobody has signed off'),
  bad: z
    .object({ by: z.string(), reason: z.string(), at: moment })
    .optional()
    .describe('Set when what runs is known to be bad there'),
  lock: z.object({ owner: z.string(), reason: z.string(), expiresAt: moment }).optional(),
  underway: z
    .object({
      deployment: z.string(),
      version: z.string(),
      by: z.string(),
      since: moment,
      state: z.enum(['running', 'succeeded', 'failed', 'abandoned']),
      hosts: z.array(z.string()),
    })
    .optional()
    .describe('A deployment that has not ended'),
})

/** 200 of `GET applications/:app/environments/:env`. */
export const environmentInFull = environment.extend({
  app: z.string(),
  status: statusCell.nullable(),
})

/** An item of `GET applications/:app/releases`; without the mail addresses of people. */
export const release = z.object({
  app: z.string(),
  version: z.string(),
  digest: z.string(),
  baseDigest: text,
  warMd5: z.string(),
  warSha256: z.string(),
  warSize: z.int().min(0).describe('Bytes'),
  repository: z.string().describe('The first one that it was pushed to'),
  commit: text,
  committedAt: moment.optional(),
  branch: text,
  author: text,
  pipelineUrl: text,
  jobUrl: text,
  reason: text,
  bakedBy: z.string(),
  bakedIdentity: text.describe('Issuer of the signed token, or unverified'),
  bakedAt: moment,
})

const signOff = z.object({ by: z.string(), identity: z.string(), reason: text, at: moment })

/** An item of `GET applications/:app/deployments`. */
export const deployment = z.object({
  id: z.string(),
  app: z.string(),
  version: z.string(),
  environment: z.string(),
  digest: z.string(),
  configRevision: z.string(),
  by: z.string(),
  reason: text,
  state: z.enum(['running', 'succeeded', 'failed', 'abandoned']),
  startedAt: moment,
  finishedAt: moment.optional(),
  error: text,
  hosts: z.array(
    z.object({
      host: z.string(),
      containerId: text,
      previousContainerId: text,
      url: text,
      ok: z.boolean(),
      duration: z.number().describe('Milliseconds'),
    }),
  ),
  verified: z.boolean(),
  kind: z.enum(['deploy', 'rollback']),
  lockToken: z.int().optional(),
  replaced: text.describe('The deployment that ran there before'),
  identity: text.describe('Issuer of the signed token, or unverified'),
  jobUrl: text,
  forced: z.boolean(),
  approvals: z.array(z.string()),
  breakGlass: z
    .object({
      by: z.string(),
      byId: text,
      identity: z.string(),
      reason: z.string(),
      at: moment,
      due: moment,
      signedOff: signOff.optional(),
    })
    .optional()
    .describe('Set when it went past the gate'),
})

/** An item of `GET audit`. */
export const auditRecord = z.object({
  number: z.int().min(1).describe('Counts up from 1 without a gap'),
  at: moment,
  subject: z.string(),
  via: z.enum(['session', 'token', 'cli']),
  verb: z.string(),
  object: z.object({ app: text, environment: text, text }),
  decision: z.enum(['allowed', 'refused']),
  rule: text.describe('What decided: grants[2]'),
  reason: text,
  plan: text,
  run: text,
  request: text,
  address: text,
  prev: z.string().describe('Hash of the record before it'),
  hash: z.string(),
})

export type AuditItem = z.input<typeof auditRecord>
