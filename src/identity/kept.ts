import type { JSONWebKeySet, JWK } from 'jose'
import { toStepError } from '../core/errors.ts'
import { isOfScan, SCANNER } from '../core/scanner.ts'
import { hashOfToken } from '../core/token-hash.ts'
import { APPROVED_THERE, type Identity } from './claims.ts'
import { checkToken, type TokenRules } from './verify.ts'
import { OWN_WORD } from './who.ts'

/** What somebody said once, as it was written down, and the token that shall prove it. */
export interface KeptWord {
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

export interface KeptRules extends TokenRules {
  /** The issuer's keys of now. */
  keys(): Promise<JSONWebKeySet>
  /** Whether tokens and keys were written by an account that nobody else writes them by. */
  apart: boolean
}

/** Seconds between the issuer's clock and the one that `at` is told by, the database's. */
const TOLERANCE = 300

/** Why a word that was kept proves nothing now; undefined when it does. */
export async function doubtKept(word: KeptWord, rules: KeptRules): Promise<string | undefined> {
  const { by, identity, proof } = word
  if (identity === `${rules.issuer}${APPROVED_THERE}`) {
    return `${rules.issuer} is asked each time, and did not tell of it now: approve there, and give the job GITLAB_TOKEN`
  }
  if (proof === undefined) {
    // Of the scanner there never is a token, and of nobody else is a word believed without.
    if (rules.apart && isOfScan(word) && by === SCANNER) return undefined
    return 'no signed token was kept with it: approve anew'
  }
  try {
    const key = await knownKey(proof.publicKey, rules)
    if (typeof key === 'string') return `${key}: approve anew`
    const moment = { keys: async () => ({ keys: [key] }), at: new Date(word.at) }
    const asked = { ...rules, ...OWN_WORD }
    const told = await checkToken(proof.token, asked, { ...moment, tolerance: TOLERANCE })
    const wrong = difference(word, told, proof.token)
    return wrong && `its signed token tells another ${wrong}: approve anew`
  } catch (error) {
    const { code, message } = toStepError(error)
    if (code !== 'UNAUTHORIZED') throw error
    return `${message}: approve anew`
  }
}

/**
 * The kept key, if the issuer has it. One that the issuer has no more is believed only of an account
 * that alone writes such keys: everybody could make one up.
 */
async function knownKey(text: string, { keys, issuer, apart }: KeptRules): Promise<JWK | string> {
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

/** What stands in the word and not in the token. */
function difference(word: KeptWord, told: Identity, token: string): string | undefined {
  const facts: Record<string, [unknown, unknown]> = {
    person: [word.by, told.login],
    id: [word.byId, told.personId],
    mail: [word.byMail, told.email],
    issuer: [word.identity, told.issuer],
    groups: [JSON.stringify(word.groups), JSON.stringify(told.groups)],
    hash: [word.tokenHash, hashOfToken(token)],
  }
  return Object.entries(facts).find(([, [kept, signed]]) => kept !== signed)?.[0]
}
