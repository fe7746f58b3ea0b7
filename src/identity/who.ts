import type { JSONWebKeySet } from 'jose'
import { StepError } from '../core/errors.ts'
import type { HttpClient } from '../core/http/client.ts'
import { hashOfToken } from '../core/token-hash.ts'
import { requestGithubToken } from './github.ts'
import type { IdentitySettings } from './settings.ts'
import { checkToken, TOLERANCE } from './verify.ts'

/** Who does something, and how that is known. */
export interface Who {
  login: string
  /** The account's id and mail, where a signed token has them. */
  id?: string | undefined
  mail?: string | undefined
  /** Full paths; only a signed token has them. */
  groups: readonly string[]
  /** The issuer of the token, or `unverified`. */
  identity: string
  /** The hash of that token (core/token-hash.ts). */
  tokenHash?: string | undefined
  /** A secret: the token, and the issuer's key it was checked by (a JWK). */
  proof?: { token: string; publicKey: string } | undefined
  /** The job and its commit, by the token. */
  job?: { id: string; sha: string | undefined } | undefined
}

export interface WhoOptions {
  variables: Readonly<Record<string, string | undefined>>
  /** Who it seems to be, by plain variables. */
  by: string
  /** Undefined where it is about none. */
  environment: string | undefined
  /**
   * Whether something is decided by it: plain variables are not enough then, and the token must be of
   * a protected branch and of this environment. A token that is at hand must be genuine anyhow.
   */
  required: boolean
  /**
   * Whether a person acts here in their own name: a token of a job that was run again, that names no
   * environment, or whose pipeline no person started, is refused, too.
   */
  strict: boolean
  /** Whether a person without any token is accepted, as unverified. */
  tokenless?: boolean | undefined
  /** The issuer's keys. */
  keys(): Promise<JSONWebKeySet>
  http: HttpClient
  signal: AbortSignal
  hide(secret: string): void
}

const TOKEN_VARIABLE = 'CROSSCLOUD_ID_TOKEN'

/** By a signed ID token where the settings ask for one, else by plain variables. */
export async function identify(
  settings: IdentitySettings | undefined,
  options: WhoOptions,
): Promise<Who> {
  const { variables, by, environment, required, strict, tokenless, keys, hide } = options
  const unverified = { login: by, groups: [], identity: 'unverified' }
  if (settings === undefined || settings === 'unverified') return unverified
  const token = await findToken(settings.audience, options)
  if (token === undefined) {
    if (!required || tokenless) return unverified
    throw new StepError('UNAUTHORIZED', 'no signed ID token says who this is', {
      hint: tokenHint(settings.audience, variables),
    })
  }
  hide(token)
  const { ca: _path, ...rules } = settings
  // Where nothing is decided by it, a name is enough: a merge request's branch is not protected, and
  // its environment is called review/branch.
  const place = required ? { environment } : { 'protected-ref': false }
  const all = { ...rules, ...place, ...(strict && STRICT_RULES) }
  const found = await checkToken(token, all, { keys, at: new Date(), tolerance: TOLERANCE })
  const job = found.jobId === undefined ? undefined : { id: found.jobId, sha: found.sha }
  const { login, personId: id, email: mail, groups, issuer: identity } = found
  const tokenHash = hashOfToken(token)
  const proof = { token, publicKey: found.publicKey }
  return { login, id, mail, groups, identity, tokenHash, proof, job }
}

/** What a token needs where a person acts in their own name. */
export const STRICT_RULES = { 'first-attempt': true, 'named-environment': true, 'by-person': true }

/** What to write on the CI system that runs this; on no known one, on each. */
function tokenHint(audience: string, variables: WhoOptions['variables']): string {
  const gitlab = `"id_tokens: { ${TOKEN_VARIABLE}: { aud: ${JSON.stringify(audience)} } }" in the job`
  const github = '"permissions: { id-token: write }"'
  if (variables.GITLAB_CI === 'true') return `Write ${gitlab}.`
  if (variables.GITHUB_ACTIONS === 'true') return `Write ${github} in the job.`
  return `In GitLab, write ${gitlab}; in GitHub ${github}.`
}

/** The signed ID token of this job: a secret. Undefined where there is none. */
export async function findToken(
  audience: string,
  { variables, http, signal }: Pick<WhoOptions, 'variables' | 'http' | 'signal'>,
): Promise<string | undefined> {
  const given = variables[TOKEN_VARIABLE]
  if (given) return given
  if (!variables.ACTIONS_ID_TOKEN_REQUEST_URL) return undefined
  return await requestGithubToken(variables, audience, signal, { http })
}
