import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import { issueLines } from '../../core/settings/schema.ts'
import type { EventFacts } from './event.ts'

/** A delivery as it came in. Nothing in it is believed before `authenticate`. */
export interface Delivery {
  headers: IncomingHttpHeaders
  body: Buffer
  /** Milliseconds since 1970. */
  now: number
}

/** Why a delivery is not authenticated. */
export type Refusal = 'missing' | 'wrong' | 'stale'

/** An authenticated delivery. */
export interface Identified {
  /** The same each time it is delivered: the key for deduplication. */
  id: string
  /** Whether its signature has no timestamp, so that a replay stays valid. */
  timeless?: boolean | undefined
  /** The signed content, when it is not the body itself. */
  content?: Buffer | undefined
}

/** The facts of a delivery; or why it is ignored, for the response to its sender. */
export type Reading = EventFacts | { ignored: string }

/** One system that sends events. */
export interface Source {
  /** Whether the signature covers the body; else the headers alone authenticate the sender. */
  signed(headers: IncomingHttpHeaders): boolean
  authenticate(delivery: Delivery): Identified | { refused: Refusal }
  /** INPUT_INVALID when the payload lacks what this kind of event must have. */
  read(headers: IncomingHttpHeaders, payload: unknown): Reading
  /** Whether it delivers again what gets a response with 4xx. */
  redelivers?: boolean
  /** Asks the source for facts that the payload lacks. */
  complete?(facts: EventFacts, payload: unknown): Promise<EventFacts>
}

/** How old a signed delivery may be, and how far its sender's clock may be off: five minutes. */
export const REPLAY_WINDOW = 5 * 60_000

export const sha256Hex = (content: string | Buffer): string =>
  createHash('sha256').update(content).digest('hex')

/** In constant time, whatever the lengths. */
export function sameSecret(given: string, known: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(known))
}

/** Whether one of the secrets was given; each is compared, so that the time reveals nothing. */
export function anySecret(given: string, secrets: readonly string[]): boolean {
  return secrets.reduce((found, secret) => sameSecret(given, secret) || found, false)
}

/** Whether a signature is the HMAC-SHA256 of the parts under one of the keys. */
export function anySignature(
  given: string,
  keys: readonly (string | Buffer)[],
  encoding: 'hex' | 'base64',
  ...parts: (string | Buffer)[]
): boolean {
  return keys.reduce((found, key) => {
    const hmac = createHmac('sha256', key)
    for (const part of parts) hmac.update(part)
    return sameSecret(given, hmac.digest(encoding)) || found
  }, false)
}

/** A header that came once; a repeated one counts as missing. */
export function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

/**
 * Standard Webhooks (https://www.standardwebhooks.com), which GitLab's signed webhooks follow:
 * `webhook-signature: v1,BASE64 …` over `id.timestamp.body`, keys written `whsec_BASE64`.
 * Undefined when no such signature was sent.
 */
export function checkStandardSignature(
  { headers, body, now }: Delivery,
  keys: readonly Buffer[],
): Identified | { refused: Refusal } | undefined {
  const signatures = header(headers, 'webhook-signature')
  if (signatures === undefined) return undefined
  const id = header(headers, 'webhook-id')
  const timestamp = header(headers, 'webhook-timestamp')
  if (id === undefined || timestamp === undefined) return { refused: 'missing' }
  const given = signatures
    .split(' ', 8)
    .flatMap((signature) => (signature.startsWith('v1,') ? [signature.slice(3)] : []))
  const signed = given.some((signature) =>
    anySignature(signature, keys, 'base64', `${id}.${timestamp}.`, body),
  )
  if (!signed) return { refused: 'wrong' }
  // Checked last: a sender without the key learns nothing about our clock.
  const age = now - Number(timestamp) * 1000
  return Math.abs(age) <= REPLAY_WINDOW ? { id } : { refused: 'stale' }
}

export const SIGNING_KEY = 'whsec_'

/** The bytes of `whsec_BASE64`. */
export const signingKey = (secret: string): Buffer =>
  Buffer.from(secret.slice(SIGNING_KEY.length), 'base64')

/** Control characters, and those that reverse the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is taken out
const STEERING = /[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/
const BLANKS = new RegExp(`(?:\\s|${STEERING.source})+`, 'g')

/** A text of a payload: bounded, and without characters that could steer a terminal. */
export const payloadText = (longest: number) =>
  z.string().transform((text) => text.replace(BLANKS, ' ').trim().slice(0, longest))

/** The first line of a text for people. */
export const firstLine = z.string().transform((text) => shortLine(text))

export function shortLine(text: string): string {
  return (text.trim().split('\n', 1)[0] ?? '').replace(BLANKS, ' ').slice(0, 200)
}

/** The skip markers of GitLab, GitHub and Gitea, in any part of a commit's message. */
const SKIP = /\[(?:ci[ _-]skip|(?:skip|no)[ _-]ci|skip actions|actions skip)\]/i

/** A commit's message: its first line, and why the commit starts nothing. */
export const commitMessage = z.string().transform((text) => ({
  title: shortLine(text),
  skipped: SKIP.test(text) ? 'its commit says [skip ci]' : undefined,
}))

const isPage = (text: string) =>
  /^https?:\/\/[^\s"'<>\\]{1,2000}$/i.test(text) && !STEERING.test(text)

/** A page, or nothing when it is not an http URL: it becomes a link in chats. */
export const pageUrl = z
  .string()
  .catch('')
  .transform((text) => (isPage(text) ? text : ''))

/** Paths of projects and repositories. */
export const projectPath = z
  .string()
  .regex(
    /^(?!\.{1,2}(?:\/|$))[\w.-]+(?:\/(?!\.{1,2}(?:\/|$))[\w.-]+){0,20}$/,
    'is not the path of a project',
  )
  .max(255)

/** The rules of git for a ref (git-check-ref-format) that matter here. */
export const refName = z
  .string()
  .max(255)
  .regex(/^(?!-)[^ ~^:?*[\\]+$/, 'is not a branch or tag')
  .refine((ref) => !STEERING.test(ref), 'is not a branch or tag')
  .refine((ref) => !ref.includes('..') && !ref.includes('@{'), 'is not a branch or tag')

/** 40 hex digits, or 64. */
export const commitSha = z.string().regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/, 'is not a commit')

/** The branch or tag that a push moved; or why the push is ignored. */
export function readMovedRef(push: {
  ref: string
  before: string
  after: string
}): { kind: 'push' | 'tag'; ref: string } | { ignored: string } {
  const [, kind, name] = /^refs\/(heads|tags)\/(.+)$/s.exec(push.ref) ?? []
  if (kind === undefined) return { ignored: 'the ref is no branch and no tag' }
  if (isNoCommit(push.after)) return { ignored: 'the branch or tag was deleted' }
  if (push.before === push.after) {
    return { ignored: 'the branch or tag was not moved: this is a test delivery' }
  }
  return { kind: kind === 'heads' ? 'push' : 'tag', ref: readPayload(refName, name) }
}

/** The SHA that git gives for a ref that was created or deleted. */
export const isNoCommit = (sha: string): boolean => /^0+$/.test(sha)

/** The SHA, or nothing for that of a ref that was created or deleted. */
export const commitOrNone = (sha: string | null | undefined): string =>
  sha && !isNoCommit(sha) ? sha : ''

/** Reads the needed fields of a payload; INPUT_INVALID names what is missing or wrong. */
export function readPayload<Schema extends z.ZodType>(
  schema: Schema,
  payload: unknown,
): z.output<Schema> {
  const result = schema.safeParse(payload, { reportInput: true })
  if (result.success) return result.data
  const lines = issueLines(result.error.issues).map(({ path, text }) => `${path.join('.')} ${text}`)
  // Names of fields are from outside, too.
  const problems = lines.slice(0, 5).map((line) => shortLine(line))
  throw new StepError('INPUT_INVALID', `the payload: ${problems.join('; ')}`)
}

/** Limits for changed files. */
const MOST_PATHS = 2000
const LONGEST_PATH = 1000

/** The files of a push; undefined, which matches every route, when they are too many. */
export function changedPaths(
  commits: readonly {
    [What in 'added' | 'modified' | 'removed']?: readonly string[] | null | undefined
  }[],
): string[] | undefined {
  const paths = commits.flatMap(({ added, modified, removed }) => [
    ...(added ?? []),
    ...(modified ?? []),
    ...(removed ?? []),
  ])
  const few = paths.length <= MOST_PATHS && paths.every(({ length }) => length <= LONGEST_PATH)
  return few ? paths : undefined
}
