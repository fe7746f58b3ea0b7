import type { JSONWebKeySet, JWTHeaderParameters, JWTPayload } from 'jose'
import { StepError } from '../core/errors.ts'
import { type Identity, readClaims } from './claims.ts'
import { quoted } from './issuer.ts'
import type { IssuerSettings } from './settings.ts'

/** What a token must say; `ca` is in the access, as its text. */
export interface TokenRules extends Omit<IssuerSettings, 'ca'> {
  /** A token of a job that names another environment is refused. */
  environment?: string | undefined
  /** The job must name the environment, and the environment must be protected there (GitLab). */
  'protected-environment'?: boolean | undefined
  /** The job must name its environment. */
  'named-environment'?: boolean | undefined
  /** A person must have started the pipeline, or something that the settings allow. */
  'by-person'?: boolean | undefined
  /** Refuses a job of GitHub that was run again: its token names who started it first. */
  'first-attempt'?: boolean | undefined
}

/** Only signatures: with an HS algorithm the public key would be the secret. */
const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
]
/** Seconds. */
export const TOLERANCE = 60
/** Two hundred groups with long paths fit in. */
const LONGEST_TOKEN = 128 * 1024

/** The public key that a signature was checked by: a JWK as JSON. */
interface Signed {
  publicKey: string
}

interface Moment {
  keys(): Promise<JSONWebKeySet>
  at: Date
  /** Seconds that two clocks may differ. */
  tolerance: number
}

/** Why a token is refused, for the code that decides what the bearer is told. */
export type TokenReason =
  | 'absent'
  | 'too-long'
  | 'malformed'
  | 'algorithm'
  | 'issuer'
  | 'signature'
  | 'key'
  | 'expired'
  | 'not-yet-valid'
  | 'audience'
  | 'claim'
  | 'project'
  | 'person'
  | 'ref'
  | 'environment'
  | 'start'

export interface TokenRefusal {
  reason: TokenReason
}

type Refuse = (reason: TokenReason, why: string, hint?: string, cause?: unknown) => StepError

/** The same by keys that are at hand, at any moment. */
export async function checkToken(
  token: string,
  rules: TokenRules,
  moment: Moment,
): Promise<Identity & Signed> {
  const { payload, publicKey } = await checkSignature(token, rules, moment)
  return { ...checkRules(payload, rules, refuseBy(rules)), publicKey }
}

/** A token that this issuer signed for this audience, and that is valid at that moment. */
export async function checkSignature(
  token: string,
  rules: Pick<TokenRules, 'issuer' | 'audience'>,
  { keys, at, tolerance }: Moment,
): Promise<Signed & { payload: JWTPayload }> {
  const refuse = refuseBy(rules)
  const jose = await import('jose')
  const { header, claims } = peek(jose, token, refuse)
  if (!ALGORITHMS.includes(header.alg)) {
    throw refuse('algorithm', `its algorithm is ${quoted(header.alg)}, which proves nothing`)
  }
  if (claims.iss !== rules.issuer) {
    throw refuse('issuer', `it is from ${quoted(claims.iss)}, not from ${rules.issuer}`)
  }
  const known = jose.createLocalJWKSet(await keys())
  const verified = await jose
    .jwtVerify(token, known, {
      algorithms: ALGORITHMS,
      issuer: rules.issuer,
      audience: rules.audience,
      clockTolerance: tolerance,
      currentDate: at,
      requiredClaims: ['exp', 'sub'],
    })
    .catch((error) => {
      const [reason, why] = reasonOf(error, claims, rules)
      throw refuse(reason, why, undefined, withoutToken(error))
    })
  const { alg, kid } = verified.protectedHeader
  const publicKey = { ...(await jose.exportJWK(verified.key)), alg, ...(kid && { kid }) }
  return { payload: verified.payload, publicKey: JSON.stringify(publicKey) }
}

function refuseBy(rules: Pick<TokenRules, 'issuer' | 'audience'>): Refuse {
  const service = /github|\.ghe\.com|\/_services\/token/.test(rules.issuer) ? 'github' : 'gitlab'
  return (reason, why, hint = askHint(service, rules), cause) =>
    new StepError<TokenRefusal>('UNAUTHORIZED', `the ID token is not accepted: ${why}`, {
      hint,
      cause,
      details: { reason },
    })
}

/** What a token says, still unproven: good for refusing it only. */
function peek(
  jose: typeof import('jose'),
  token: string,
  refuse: Refuse,
): { header: JWTHeaderParameters; claims: JWTPayload } {
  if (token === '') throw refuse('absent', 'there is none')
  if (token.length > LONGEST_TOKEN) throw refuse('too-long', 'it is longer than any token')
  try {
    const { alg = 'none', ...header } = jose.decodeProtectedHeader(token)
    return { header: { alg, ...header }, claims: jose.decodeJwt(token) }
  } catch {
    throw refuse('malformed', 'it is not a JSON Web Token')
  }
}

/** What jose found, in plain words. The claims are unproven for the first three. */
function reasonOf(
  error: unknown,
  claims: JWTPayload,
  rules: Pick<TokenRules, 'issuer' | 'audience'>,
): [TokenReason, string] {
  const { code, claim, reason } = (error ?? {}) as Record<string, unknown>
  switch (code) {
    case 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED':
      return ['signature', `its signature is not that of ${rules.issuer}`]
    case 'ERR_JWKS_NO_MATCHING_KEY':
      return ['key', `it is signed with a key that ${rules.issuer} does not have`]
    case 'ERR_JWKS_MULTIPLE_MATCHING_KEYS':
      return ['key', `it does not say with which key of ${rules.issuer} it is signed`]
    case 'ERR_JWT_EXPIRED':
      return ['expired', `it has expired${at(claims.exp)}`]
    case 'ERR_JWT_CLAIM_VALIDATION_FAILED':
      if (claim === 'nbf')
        return ['not-yet-valid', `it is not valid yet${at(claims.nbf, 'before')}`]
      if (claim === 'aud') {
        return ['audience', `it is for ${audience(claims.aud)}, not for ${rules.audience}`]
      }
      return [
        'claim',
        `its claim ${quoted(claim)} is ${reason === 'missing' ? 'missing' : 'wrong'}`,
      ]
    default:
      return ['malformed', 'it cannot be read, or the key of the issuer cannot be used']
  }
}

function at(seconds: number | undefined, word = 'at'): string {
  const date = new Date((seconds ?? Number.NaN) * 1000)
  return Number.isNaN(date.getTime()) ? '' : ` ${word} ${date.toISOString()}`
}

function audience(aud: JWTPayload['aud']): string {
  return quoted([aud ?? 'nobody'].flat().join(', '))
}

/** jose's errors carry the claims, which no printed cause may show. */
function withoutToken(error: unknown): Error | undefined {
  return error instanceof Error ? new Error(`${error.name}: ${error.message}`) : undefined
}

type Claims = NonNullable<ReturnType<typeof readClaims>>

/** What the settings ask beyond a good signature. */
function checkRules(claims: JWTPayload, rules: TokenRules, refuse: Refuse): Identity {
  const found = readClaims(claims)
  if (!found) throw refuse('project', 'it names no project; it is not of a CI job')
  const { login, project, service } = found
  if (!rules.project.includes(project)) {
    throw refuse(
      'project',
      `it is of ${quoted(project)}, not of ${rules.project.join(' or ')}`,
      'Run the job in that project, or add this one under identity in crosscloud.yml.',
    )
  }
  if (login === undefined) {
    const name = service === 'gitlab' ? 'user_login' : 'actor'
    throw refuse('person', `it names no person: ${name} is missing`)
  }
  checkRef(found, rules, refuse)
  checkEnvironment(found, rules, refuse)
  checkStart(found, rules, refuse)
  return { ...found, login }
}

function checkRef({ ref, refProtected, project }: Claims, rules: TokenRules, refuse: Refuse): void {
  if (!rules['protected-ref'] || refProtected) return
  throw refuse(
    'ref',
    `${quoted(ref ?? 'its branch')} is not protected in ${project}`,
    'Run the job on a protected branch or tag, or protect this one.',
  )
}

function checkEnvironment(found: Claims, rules: TokenRules, refuse: Refuse): void {
  const { environment, environmentProtected, project } = found
  const asked = `Write "environment: ${rules.environment ?? 'NAME'}" in the job`
  if (rules['named-environment'] && environment === undefined) {
    throw refuse('environment', 'its job names no environment', `${asked}.`)
  }
  if (rules.environment !== undefined && (environment ?? rules.environment) !== rules.environment) {
    throw refuse(
      'environment',
      `its job is for environment ${quoted(environment)}, not for ${rules.environment}`,
      `${asked}.`,
    )
  }
  if (rules['protected-environment'] && !(environment && environmentProtected)) {
    throw refuse(
      'environment',
      environment
        ? `environment ${quoted(environment)} is not protected in ${project}`
        : 'its job names no environment',
      `${asked}, and protect it in the project.`,
    )
  }
}

function checkStart(found: Claims, rules: TokenRules, refuse: Refuse): void {
  const { startedBy, attempt } = found
  if (rules['by-person'] && !startedByPerson(found, rules)) {
    throw refuse(
      'start',
      `no person started its pipeline, but ${quoted(startedBy)}`,
      `Start a pipeline by hand, or allow "${quoted(startedBy)}" under identity.pipelines in crosscloud.yml.`,
    )
  }
  if (rules['first-attempt'] && attempt !== 1) {
    throw refuse(
      'start',
      'its run was started again, and the token names who started it first',
      'Start a new run of the workflow; do not run the old one again.',
    )
  }
}

/**
 * What a person does (https://docs.gitlab.com/ci/jobs/job_rules/#ci_pipeline_source-predefined-variable,
 * https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows).
 * The job of a schedule or a trigger names its owner, who may be asleep.
 */
const BY_PERSON: Record<Identity['service'], readonly string[]> = {
  gitlab: ['push', 'web', 'webide', 'chat', 'api', 'merge_request_event', 'parent_pipeline'],
  github: ['push', 'workflow_dispatch', 'pull_request', 'release'],
}

/** The same of a job whose system is not told apart. */
export function startsByPerson(startedBy: string, pipelines: readonly string[]): boolean {
  return [...Object.values(BY_PERSON).flat(), ...pipelines].includes(startedBy)
}

export function startedByPerson(
  { service, startedBy }: Pick<Identity, 'service' | 'startedBy'>,
  { pipelines }: Pick<TokenRules, 'pipelines'>,
): boolean {
  if (startedBy === undefined) return false
  return [...BY_PERSON[service], ...pipelines].includes(startedBy)
}

/** How a job gets the token that is asked for. */
function askHint(service: Identity['service'], { audience }: Pick<TokenRules, 'audience'>): string {
  if (service === 'github') {
    return `Write "permissions: { id-token: write }" in the job; the token is asked for audience ${audience}.`
  }
  return `Write in the job: "id_tokens: { CROSSCLOUD_ID_TOKEN: { aud: ${JSON.stringify(audience)} } }", and run it again.`
}
