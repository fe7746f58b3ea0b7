import type { IncomingHttpHeaders } from 'node:http'
import { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import {
  anySecret,
  anySignature,
  checkStandardSignature,
  commitSha,
  type Delivery,
  firstLine,
  header,
  type Identified,
  pageUrl,
  payloadText,
  projectPath,
  type Reading,
  type Refusal,
  refName,
  type Source,
  sha256Hex,
  signingKey,
} from './source.ts'

const headerName = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,100}$/, 'is not the name of a header')
  .transform((name) => name.toLowerCase())
const pointer = z
  .string()
  .regex(
    /^(?:=.*|(?:\/(?:[^~/]|~[01])*)+)$/s,
    'is no JSON pointer; write /repository/name, or =text',
  )

/** How an arbitrary system signs its deliveries, and where their payloads have the facts. */
export const genericHow = z.strictObject({
  signature: z
    .enum(['standard', 'hmac', 'token'])
    .default('standard')
    .describe(
      'as https://www.standardwebhooks.com; HMAC-SHA256 of the body, in hex; the secret itself',
    ),
  header: headerName
    .optional()
    .describe('Header of the signature or token; default x-signature, x-token'),
  prefix: z.string().default('sha256=').describe('What stands before the signature of hmac'),
  id: headerName
    .default('x-delivery-id')
    .describe("Header of a token's delivery's id; without it, and with hmac, the content counts"),
  facts: z
    .strictObject({
      project: pointer.describe('Where the payload has the project: a JSON pointer, or =text'),
      ref: pointer.optional().describe('Branch or tag; refs/heads/ before it is left out'),
      commit: pointer.optional().describe('SHA of the commit'),
      by: pointer.optional().describe('Login of who did it'),
      title: pointer.optional().describe('A line about it'),
      url: pointer.optional().describe('A page about it'),
    })
    .describe('Where the payload says what'),
})
export type GenericHow = z.output<typeof genericHow>

export interface GenericOptions {
  /** The name of the source. */
  via: string
  secrets: readonly string[]
  how: GenericHow
}

export function createGenericSource({ via, secrets, how }: GenericOptions): Source {
  const keys = how.signature === 'standard' ? secrets.map(signingKey) : []
  const authenticate = {
    standard: (delivery: Delivery) =>
      checkStandardSignature(delivery, keys) ?? ({ refused: 'missing' } as const),
    hmac: (delivery: Delivery) => checkHmac(delivery, secrets, how),
    token: (delivery: Delivery) => checkToken(delivery, secrets, how),
  }[how.signature]
  return {
    signed: () => how.signature !== 'token',
    authenticate,
    read: (_headers: IncomingHttpHeaders, payload: unknown) => read(via, how, payload),
  }
}

type Checked = Identified | { refused: Refusal }

function checkHmac(
  { headers, body }: Delivery,
  secrets: readonly string[],
  how: GenericHow,
): Checked {
  const given = header(headers, how.header ?? 'x-signature')
  if (given === undefined) return { refused: 'missing' }
  const hex = given.startsWith(how.prefix) ? given.slice(how.prefix.length) : given
  if (!anySignature(hex, secrets, 'hex', body)) return { refused: 'wrong' }
  // The signature does not cover the header of the id.
  return { id: sha256Hex(body), timeless: true }
}

function checkToken(
  { headers, body }: Delivery,
  secrets: readonly string[],
  how: GenericHow,
): Checked {
  const given = header(headers, how.header ?? 'x-token')
  if (given === undefined) return { refused: 'missing' }
  if (!anySecret(given, secrets)) return { refused: 'wrong' }
  return { id: header(headers, how.id) ?? sha256Hex(body) }
}

const checks = {
  project: projectPath,
  ref: z
    .string()
    .transform((ref) => ref.replace(/^refs\/(?:heads|tags)\//, ''))
    .pipe(refName),
  commit: commitSha,
  by: payloadText(255),
  title: firstLine,
  url: pageUrl,
}

function read(via: string, { facts: where }: GenericHow, payload: unknown): Reading {
  const fact = (name: keyof typeof checks): string => {
    const path = where[name]
    const value = path === undefined ? undefined : lookUp(payload, path)
    if (value === undefined && name !== 'project') return ''
    const result = checks[name].safeParse(Number.isFinite(value) ? String(value) : value)
    if (result.success) return result.data
    const why = value === undefined ? 'is missing' : result.error.issues[0]?.message
    throw new StepError('INPUT_INVALID', `the payload: ${name} at ${path} ${why}`)
  }
  const all = { project: fact('project'), ref: fact('ref'), commit: fact('commit') }
  const more = { by: fact('by'), title: fact('title'), url: fact('url') }
  return { source: 'generic', via, kind: 'custom', ...all, ...more }
}

/** Resolves a JSON pointer (RFC 6901) to own properties of the payload. */
function lookUp(payload: unknown, path: string): unknown {
  if (path.startsWith('=')) return path.slice(1)
  let at = payload
  for (const part of path.slice(1).split('/')) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined
    at = (at as Record<string, unknown>)[name]
  }
  return at ?? undefined
}
