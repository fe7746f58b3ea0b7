import { z } from 'zod'
import { webhookSecret } from '../../core/settings/schema.ts'
import { genericHow } from '../sources/generic.ts'
import { SIGNING_KEY } from '../sources/source.ts'
import { pattern } from './patterns.ts'
import { serverUrl } from './url.ts'

const secrets = z
  .array(webhookSecret)
  .min(1, 'names none; without a secret anybody could start a pipeline')
  .describe('Secrets the sender may know; two while one takes the place of the other')
const projects = z
  .array(pattern.refine((text) => !/^https?:/.test(text), 'is a URL; write team/webapi'))
  .min(1, 'names none')
  .describe('Projects that are listened to: team/webapi, team/*, or ** for all')
const apiToken = z
  .string()
  .min(1, 'is empty')
  .refine((token) => !/^\$\w+$/.test(token), 'is the name of a variable; write ${NAME}')

export const gitlab = z.strictObject({
  secrets,
  projects,
  url: serverUrl.default('https://gitlab.com').describe('The GitLab server'),
  token: apiToken
    .optional()
    .describe('Token with scope api: starts pipelines, sets statuses, writes comments'),
  'catch-up': z
    .boolean()
    .default(false)
    .describe('Whether GitLab is asked for pushes that it could not deliver'),
})

export const github = z.strictObject({
  secrets,
  projects,
  url: serverUrl
    .default('https://api.github.com')
    .describe('The API, such as https://github.example.com/api/v3'),
  token: apiToken.optional().describe('Token that may dispatch workflows and set statuses'),
  'catch-up': z
    .boolean()
    .default(false)
    .describe('Whether GitHub is asked for pushes to branches that it could not deliver'),
})
export const gitea = z.strictObject({
  secrets,
  projects,
  url: serverUrl
    .refine((url) => !/\/api\/v1\/*$/.test(url), 'is the API; write https://gitea.example.com')
    .describe('The Gitea or Forgejo server'),
  token: apiToken
    .optional()
    .describe('Token that may dispatch workflows, set statuses, and read commits for paths'),
})
export const harbor = z.strictObject({ secrets, projects })
export const generic = genericHow
  .extend({ secrets, projects })
  .refine(
    (source) =>
      source.signature !== 'standard' || source.secrets.every((key) => key.startsWith(SIGNING_KEY)),
    { path: ['secrets'], message: `of signature: standard begin with ${SIGNING_KEY}` },
  )
export const jenkins = z.strictObject({
  url: serverUrl.describe('The Jenkins server'),
  user: z.string().min(1).describe('User the jobs are started as'),
  token: z.string().min(1).describe("That user's API token"),
})
