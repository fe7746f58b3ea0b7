import { z } from 'zod'
import { duration, objectName } from '../../core/settings/schema.ts'
import { isSafeOrigin } from '../../identity/url.ts'

const kinds = ['oidc', 'github'] as const

const groupName = z
  .string()
  .regex(/^[^\s:#*\p{C}]+$/u, 'is not the name of a group; write team/ops, whole')

const issuer = z.strictObject({
  issuer: z
    .string()
    .refine(isSafeOrigin, 'is not a usable URL; write https://host (http only for loopback)')
    .describe(
      'Who knows the people, as it calls itself: https://gitlab.example.com, https://github.com',
    ),
  kind: z
    .enum(kinds)
    .optional()
    .describe(
      'oidc (OpenID Connect), or github for GitHub and its Enterprise Server; default: github for https://github.com, else oidc',
    ),
  'client-id': z.string().min(1, 'is empty').describe('Id of this server as an application there'),
  'client-secret': z
    .string()
    .min(1, 'is empty')
    .refine((secret) => !/^\$\w+$/.test(secret), 'is the name of a variable; write ${NAME}')
    .describe('Secret of that application'),
  scopes: z
    .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'is not a scope'))
    .min(1, 'names none')
    .optional()
    .describe('What is asked for; default: openid, profile and email, of GitHub read:org'),
  groups: z
    .array(groupName)
    .min(1, 'names none; leave it out to let in everybody there')
    .optional()
    .describe('Who may log in: members of one of these groups; default: everybody there'),
  'login-claim': z
    .string()
    .min(1)
    .default('preferred_username')
    .describe('Claim with the login; nickname where there is none'),
  'groups-claim': z
    .string()
    .min(1)
    .optional()
    .describe(
      'Claim with the groups; default: groups_direct where the issuer has it, as GitLab, else groups',
    ),
  ca: z
    .string()
    .min(1)
    .optional()
    .describe("PEM file of the authority that signed the issuer's certificate"),
})

const HOUR = 3_600_000

/** `logins:` in crosscloud.server.yml: people who come by a browser. */
export const loginSettings = z
  .strictObject({
    issuers: z
      .record(objectName, issuer)
      .refine((issuers) => Object.keys(issuers).length > 0, 'names none')
      .describe(
        'Where people log in, by a name of your own; their callback is URL/login/callback/NAME',
      ),
    idle: duration.prefault('1h').describe('How long a login lasts after its last request'),
    lifetime: duration
      .refine((time) => time <= 24 * HOUR, 'is longer than 24h')
      .prefault('12h')
      .describe('How long a login lasts at most'),
    'groups-age': duration
      .prefault('5m')
      .describe(
        'How old the known groups of a person may be: the issuer is asked again after half of it; if it does not answer in all of it, nothing is allowed',
      ),
  })
  .describe('Login of people with GitLab, GitHub or another issuer; needs sessions')

export type LoginSettings = z.output<typeof loginSettings>
export type LoginIssuerSettings = z.output<typeof issuer>

/** OpenID Connect has discovery and ID tokens; GitHub has OAuth 2 and an API. */
export function kindOf({ kind, issuer: url }: LoginIssuerSettings): (typeof kinds)[number] {
  return kind ?? (new URL(url).hostname === 'github.com' ? 'github' : 'oidc')
}
