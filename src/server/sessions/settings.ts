import { z } from 'zod'
import { isServerUrl, withoutSlash } from '../../api/settings.ts'
import { duration, objectName } from '../../core/settings/schema.ts'
import { issuerSettings } from '../../identity/settings.ts'

const issuer = issuerSettings
  .omit({ audience: true, project: true })
  .extend({
    project: issuerSettings.shape.project
      .optional()
      .describe('GitLab projects (group/project) or GitHub repositories whose jobs may speak'),
    subject: z
      .array(z.string().min(1, 'must not be empty'))
      .optional()
      .describe('The sub of tokens that name no project, whole: jobs of Jenkins'),
    'jwks-file': z
      .string()
      .min(1)
      .optional()
      .describe("File with the issuer's keys (JWKS), where this server cannot reach it"),
  })
  .superRefine(({ project, subject, jwks, 'jwks-file': file }, check) => {
    const report = (path: string, message: string) =>
      check.addIssue({ code: 'custom', path: [path], message, input: file })
    if (project === undefined && subject === undefined) {
      report('project', 'is required, or subject, for issuers that name no project')
    }
    if (jwks !== undefined && file !== undefined) {
      report('jwks-file', 'is there beside jwks; write one of the two')
    }
  })

export const sessionIssuers = z.record(objectName, issuer)

const HOUR = 3_600_000

/** `sessions:` in crosscloud.server.yml: who may speak to the API, and how that is proven. */
export const sessionSettings = z
  .strictObject({
    url: z
      .string()
      .refine(isServerUrl, 'is not a usable URL; write https://host (http only for loopback)')
      .transform(withoutSlash)
      .describe('Address of this server, as clients write it; the aud of their ID tokens'),
    issuers: sessionIssuers
      .default({})
      .describe('Who signs ID tokens of jobs, by a name of your own; the aud is url'),
    lifetime: duration
      .refine((time) => time <= 24 * HOUR, 'is longer than 24h')
      .prefault('1h')
      .describe(
        'How long a session lives after its last request, and at most after its ID token expires',
      ),
    'failed-logins': z
      .int()
      .min(1)
      .default(30)
      .describe('Most failed logins a minute from one address; above it gets 429'),
    'job-sessions': z
      .int()
      .min(1)
      .default(100)
      .describe('Most sessions of one job (of GitHub: of one run); above it gets 429'),
  })
  .describe('Sessions of CI jobs and API tokens; without, there is no API')

export type SessionSettings = z.output<typeof sessionSettings>
export type SessionIssuer = z.output<typeof issuer>
