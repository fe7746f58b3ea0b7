import { z } from 'zod'
import { failurePolicies } from '../../targets/rollout-settings.ts'
import { checkNames } from '../deployment/attempt.ts'
import { skippedReleases } from '../skipped-release.ts'

/*
 * What a deployment would do, as data: `--json` prints it, texts are made of it. Absent facts are
 * null, so that a reader need not know which fields there may be. Times are ISO 8601.
 */

const release = z.object({
  name: z.string().describe('application@version'),
  digest: z.string(),
  commit: z.string().nullable(),
})

const commit = z.object({
  id: z.string(),
  author: z.string(),
  at: z.string(),
  subject: z.string(),
})

const commits = z.object({
  known: z.boolean().describe('Whether this checkout could say'),
  why: z.string().nullable().describe('Why it could not'),
  added: z.array(commit).describe('Commits that come, newest first'),
  removed: z.array(commit).describe('Commits that go, newest first'),
})

const configKey = z.object({
  key: z.string(),
  change: z.enum(['added', 'changed', 'removed', 'unknown']),
  before: z.string().nullable().describe("In JSON's quotes, or a mark in place of a secret"),
  after: z.string().nullable(),
})

const config = z.object({
  before: z.string().nullable().describe('Config revision that runs now'),
  after: z
    .string()
    .nullable()
    .describe('Config revision that would run; null where it cannot be rendered'),
  known: z.boolean().describe('Whether the ledger kept what runs now'),
  keys: z.array(configKey),
  files: z.array(z.object({ path: z.string(), change: z.enum(['added', 'changed', 'removed']) })),
})

const image = z.object({
  reference: z.string().describe('By digest, as hosts pull it'),
  layers: z.number().int(),
  bytes: z.number().int().describe('Of all layers, compressed'),
  copy: z
    .object({
      from: z.string(),
      to: z.string(),
      mounted: z.boolean().describe('Within one registry: nothing is sent'),
    })
    .nullable()
    .describe('Set where a promotion must bring the image first'),
})

const host = z.object({
  name: z.string(),
  address: z.string(),
  action: z.enum(['replace', 'create', 'keep', 'leave out']),
  runs: z
    .object({
      release: z.string().nullable().describe('Null for a container that is not of crosscloud'),
      deployment: z.string().nullable(),
      container: z.string(),
      running: z.boolean(),
    })
    .nullable()
    .describe('Null where nothing runs, or where the host was not asked'),
  lacks: z
    .object({ layers: z.number().int(), bytes: z.number().int() })
    .nullable()
    .describe('What it would pull; null where that is not known'),
  slot: z
    .number()
    .int()
    .nullable()
    .describe('Slot that the new container starts in, beside the other'),
  access: z
    .array(z.object({ text: z.string(), isNew: z.boolean() }))
    .describe(
      'What gives the new container power over its host, and whether the one that runs lacks it',
    ),
  leftovers: z
    .array(z.string())
    .describe('Left by a deployment that could not tidy up: repaired first'),
  restores: z.string().nullable().describe('What comes back there when any host fails'),
  error: z.string().nullable().describe('Why it could not be asked'),
})

const stage = z.object({
  do: z.enum(['change', 'watch', 'pause']),
  hosts: z.array(z.string()).describe('Changed at once, or watched'),
  milliseconds: z.number().nullable().describe('How long they are watched, or the pause is'),
})

const rollout = z.object({
  before: z.array(z.string()).nullable().describe('Command that runs once in the new image, first'),
  stages: z.array(stage),
  after: z.array(z.string()).nullable().describe('Command that runs once, last'),
  onFailure: z.enum(failurePolicies),
})

const proxyServer = z.object({
  name: z.string().describe("The host's name, with the slot: app-01-2"),
  address: z.string(),
  mode: z.enum(['in', 'draining', 'out']).describe('Whether it gets requests now'),
  up: z.boolean().nullable().describe("What the proxy's own check says; null without one"),
  weight: z.number().nullable().describe('Percent of an ordinary share; null where not known'),
})

const proxy = z.object({
  name: z.string(),
  leftover: z.string().nullable().describe('Left by a deployer that was killed: repaired first'),
  hosts: z
    .array(
      z.object({
        name: z.string(),
        out: z.boolean().describe('Somebody took it out, and it stays out'),
        steps: z
          .array(z.object({ do: z.enum(['put in', 'take out']), server: z.string() }))
          .describe('What the proxy is told while the host is changed, in order'),
      }),
    )
    .describe('Hosts that would be changed, in order'),
  servers: z
    .array(proxyServer)
    .nullable()
    .describe('All of the environment; null where they are known only after the repair'),
  canary: z
    .number()
    .nullable()
    .describe('Percent of all requests that the canary gets: 100 where no other host serves'),
})

const problem = z.object({
  check: z.enum(checkNames),
  code: z.string().describe('Of the error that the step would end with'),
  message: z.string().describe('A line for each fact'),
  hint: z.string().nullable(),
  retryable: z.boolean(),
})

export const planSchema = z.object({
  kind: z.enum(['deploy', 'promote', 'rollback']),
  release: z.string().describe('Release, as application@version'),
  environment: z.string(),
  digest: z.string(),
  warMd5: z.string(),
  from: release
    .extend({ deployment: z.string(), since: z.string() })
    .nullable()
    .describe('What runs now, by the ledger'),
  to: release,
  skipped: z
    .array(skippedReleases)
    .default([])
    .describe('Of a rollback: releases that ran since, and are marked bad there'),
  commits,
  config,
  image: image.nullable().describe('Null where the image was not found'),
  hosts: z.array(host).describe('In the order in which they would be changed'),
  rollout,
  proxy: proxy
    .nullable()
    .default(null)
    .describe('Null without a proxy, or where it cannot be asked'),
  lock: z
    .object({
      owner: z.string(),
      reason: z.string(),
      since: z.string().nullable(),
      until: z.string(),
    })
    .nullable(),
  ready: z.boolean().describe('Whether the deployment could start now'),
  problems: z.array(problem).describe('All that stands in its way'),
  warnings: z.array(z.string()),
  hash: z.string().describe('Over what would be done to what: it differs once a fact has changed'),
})

export type Plan = z.output<typeof planSchema>
export type PlannedProxy = NonNullable<Plan['proxy']>
export type PlannedHost = Plan['hosts'][number]
