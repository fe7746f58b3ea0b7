import { z } from 'zod'
import { webhookSecret } from '../core/settings/schema.ts'

const roles = ['nobody', 'developer', 'maintainer', 'admin'] as const
const role = z.enum(roles, 'is not a role; write nobody, developer, maintainer or admin')
const who = z
  .string()
  .regex(
    /^(?:developer|maintainer|admin|user:[\w.-]+|group:[\w./-]+)$/,
    'is not a role, user:LOGIN or group:PATH',
  )
const wildcard = z.string().regex(/^[\w./*-]+$/, 'is not a name or pattern of branches or tags')
const events = ['push', 'tag', 'merge-request', 'comment', 'pipeline', 'job', 'deployment'] as const

/** Access levels of GitLab by role: https://docs.gitlab.com/api/access_requests/#valid-access-levels */
export const accessLevels: Record<(typeof roles)[number], number> = {
  nobody: 0,
  developer: 30,
  maintainer: 40,
  admin: 60,
}

/** `gitlab:` in crosscloud.yml: how the application's project on GitLab shall be set up. */
export const gitlabSettings = z.strictObject({
  url: z
    .url({ protocol: /^https?$/ })
    .default('https://gitlab.com')
    .describe('The GitLab server'),
  ca: z
    .string()
    .min(1)
    .optional()
    .describe('PEM file of the authority that signed its certificate'),
  project: z
    .string()
    .regex(/^[\w.-]+(?:\/[\w.-]+)+$/, 'is not a project; write group/project')
    .describe('The project: group/project'),
  environments: z
    .record(
      z.string(),
      z.strictObject({
        tier: z
          .enum(['development', 'testing', 'staging', 'production', 'other'])
          .optional()
          .describe('Its tier; default: by its name'),
        deployers: z
          .array(who)
          .min(1)
          .optional()
          .describe('Who may deploy: a role, user:LOGIN or group:PATH; protects the environment'),
        approvals: z
          .array(z.strictObject({ by: who, required: z.int().min(1).default(1) }))
          .optional()
          .describe("GitLab's own approvals, with Premium; crosscloud's gate works without"),
      }),
    )
    .default({})
    .describe('More on the environments of crosscloud.yml, which are all made there'),
  variables: z
    .record(
      z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,254}$/, 'is not the name of a variable'),
      z.strictObject({
        value: z.string().describe('Its value; a secret as ${NAME}'),
        environment: z.string().default('*').describe('Environment that gets it'),
        masked: z.boolean().default(true).describe('Whether logs hide it'),
        protected: z.boolean().default(true).describe('Only for protected branches and tags'),
      }),
    )
    .default({})
    .describe('CI variables'),
  branches: z
    .array(
      z.strictObject({
        name: wildcard.describe('Branch, or pattern'),
        push: role.default('maintainer').describe('Who may push'),
        merge: role.default('maintainer').describe('Who may merge'),
      }),
    )
    .default([])
    .describe('Protected branches'),
  tags: z
    .array(
      z.strictObject({
        name: wildcard.describe('Tag, or pattern'),
        create: role.default('maintainer').describe('Who may create'),
      }),
    )
    .default([])
    .describe('Protected tags'),
  webhook: z
    .strictObject({
      url: z.url({ protocol: /^https?$/ }).describe('Where GitLab tells what happened'),
      secret: webhookSecret.describe('A secret as ${NAME}; the server has it under gitlab.secrets'),
      events: z.array(z.enum(events)).min(1).default(['push']).describe('What it tells'),
    })
    .optional(),
  'resource-groups': z
    .enum(['unordered', 'oldest_first', 'newest_first'])
    .default('oldest_first')
    .describe('In which order jobs that wait for an environment go on'),
})

export type GitlabSettings = z.output<typeof gitlabSettings>
