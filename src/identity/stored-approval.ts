import type { JSONWebKeySet, JWK } from 'jose'
import { toStepError } from '../core/errors.ts'
import { isOfScan, SCANNER } from '../core/scanner.ts'
import { hashOfToken } from '../core/token-hash.ts'
import { APPROVED_THERE, type Identity } from './claims.ts'
import { checkToken, type TokenRules } from './verify.ts'
import { STRICT_RULES } from './who.ts'

/** An approval as it was recorded, and the token that proves it. */
export interface StoredApproval {
  by: string
  byId?: string | undefined
  byMail?: string | undefined
  groups: readonly string[]
  identity: string
  tokenHash?: string | undefined
  /** ISO 8601: the token must have been valid then. */
  at: string
  proof: { token: string; publicKey: string } | undefined
}

export interface StoredApprovalRules extends TokenRules {
  /** The issuer's keys of now. */
  keys(): Promise<JSONWebKeySet>
  /** Whether tokens and keys are written by an account of their own. */
  apart: boolean
}

/** Seconds between the issuer's clock and the database's, which `at` is taken from. */
const TOLERANCE = 300

/** Why a recorded approval proves nothing now; undefined when it does. */
export async function doubtStoredApproval(
  approval: StoredApproval,
  rules: StoredApprovalRules,
): Promise<string | undefined> {
  const { by, identity, proof } = approval
  if (identity === `${rules.issuer}${APPROVED_THERE}`) {
    return `${rules.issuer} is asked each time, and did not tell of it now: approve there, and give the job GITLAB_TOKEN`
  }
  if (proof === undefined) {
    // The scanner never has a token; nobody else's approval counts without.
    if (rules.apart && isOfScan(approval) && by === SCANNER) return undefined
    return 'no signed token was kept with it: approve anew'
  }
  try {
    const key = await knownKey(proof.publicKey, rules)
    if (typeof key === 'string') return `${key}: approve anew`
    const moment = { keys: async () => ({ keys: [key] }), at: new Date(approval.at) }
    const strict = { ...rules, ...STRICT_RULES }
    const signed = await checkToken(proof.token, strict, { ...moment, tolerance: TOLERANCE })
    const wrong = difference(approval, signed, proof.token)
    return wrong && `its signed token tells another ${wrong}: approve anew`
  } catch (error) {
    const { code, message } = toStepError(error)
    if (code !== 'UNAUTHORIZED' && code !== 'FORBIDDEN') throw error
    return `${message}: approve anew`
  }
}

/**
 * The recorded key, if the issuer has it. A key that the issuer no longer has counts only where one
 * account alone writes such keys: anybody could make a key up.
 */
async function knownKey(
  text: string,
  { keys, issuer, apart }: StoredApprovalRules,
): Promise<JWK | string> {
  const { calculateJwkThumbprint } = await import('jose')
  const print = (key: JWK) => calculateJwkThumbprint(key).catch(() => undefined)
  const key = parseKey(text)
  const own = key && (await print(key))
  if (key === undefined || own === undefined) return 'the key it was checked by cannot be read'
  const present = (await keys()).keys
  const prints = await Promise.all(present.map(print))
  if (prints.includes(own)) return key
  if (key.kid !== undefined && present.some(({ kid }) => kid === key.kid)) {
    return `the key it was checked by is not the one that ${issuer} has by that name`
  }
  return apart ? key : `${issuer} has the key no more that it was checked by`
}

function parseKey(text: string): JWK | undefined {
  try {
    const key: unknown = JSON.parse(text)
    const isKey = typeof key === 'object' && key !== null && 'kty' in key && key.kty !== 'oct'
    return isKey ? (key as JWK) : undefined
  } catch {
    return undefined
  }
}

/** What the approval has and the token has not. */
function difference(approval: StoredApproval, signed: Identity, token: string): string | undefined {
  const facts: Record<string, [unknown, unknown]> = {
    person: [approval.by, signed.login],
    id: [approval.byId, signed.personId],
    mail: [approval.byMail, signed.email],
    issuer: [approval.identity, signed.issuer],
    groups: [JSON.stringify(approval.groups), JSON.stringify(signed.groups)],
    hash: [approval.tokenHash, hashOfToken(token)],
  }
  return Object.entries(facts).find(([, [kept, signed]]) => kept !== signed)?.[0]
}
