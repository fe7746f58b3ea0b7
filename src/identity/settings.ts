import { z } from 'zod'
import { issueLines } from '../core/settings/schema.ts'
import { isSafeOrigin } from './url.ts'

const safeUrl = z
  .string()
  .refine(isSafeOrigin, 'is not a usable URL; write https://host (http only for loopback)')

const paths = z
  .string()
  .regex(/^[^\s/]+(?:\/[^\s/]+)+$/, 'is not a project; write group/project or owner/repository')

/** Who may tell who somebody is: the issuer of ID tokens, and what a token must say. */
export const issuerSettings = z.strictObject({
  issuer: safeUrl
    .transform((url) => url.replace(/\/+$/, ''))
    .describe(
      'Who signs the ID tokens: https://gitlab.example.com, or https://token.actions.githubusercontent.com',
    ),
  audience: z
    .string()
    .min(1, 'must not be empty')
    .describe('Whom a token must be meant for: the aud of id_tokens in the job'),
  project: z
    .union([paths, z.array(paths).min(1, 'names none')], 'is not a project or a list of them')
    .transform((project) => [project].flat())
    .describe('GitLab projects (group/project) or GitHub repositories whose jobs may speak'),
  'protected-ref': z
    .boolean()
    .default(true)
    .describe('Whether only jobs of protected branches and tags may speak'),
  pipelines: z
    .array(
      z.string().regex(/^[a-z_]+$/, 'is not what starts a pipeline; write schedule or trigger'),
    )
    .default([])
    .describe(
      'What may start a pipeline in which somebody approves, beside a person: schedule, trigger',
    ),
  jwks: safeUrl
    .optional()
    .describe("Where the issuer's keys are; default: what its openid-configuration names"),
  ca: z
    .string()
    .min(1)
    .optional()
    .describe("PEM file of the authority that signed the issuer's certificate"),
})

export type IssuerSettings = z.output<typeof issuerSettings>

/** `identity:` in crosscloud.yml. */
export const identitySettings = z
  .union([z.literal('unverified'), issuerSettings], { error: unionError })
  .describe(
    'How it is known who somebody is: by a signed ID token, or unverified: by plain variables',
  )

export type IdentitySettings = z.output<typeof identitySettings>

/** A union's own message is "Invalid input"; this one names what is wrong. */
function unionError(issue: { code?: string; input?: unknown; errors?: z.core.$ZodIssue[][] }) {
  if (issue.code !== 'invalid_union' || typeof issue.input !== 'object' || issue.input === null) {
    return 'is neither "unverified" nor an issuer with its audience and project'
  }
  const lines = issueLines(issue.errors?.[1] ?? [])
  return lines.map(({ path, text }) => `${path.join('.')} ${text}`).join('; ')
}
