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

/** Why nobody is believed to have sent this. */
export type Refusal = 'missing' | 'wrong' | 'stale'

/** What is known of a delivery whose sender knows the secret. */
export interface Identified {
  /** The same for each time this is delivered; deliveries are deduplicated on it. */
  id: string
  /** Whether what proves the sender tells no time: then it would be as good in a month. */
  timeless?: boolean | undefined
  /** What was signed, where that is not the body as it came. */
  content?: Buffer | undefined
}

/** What a delivery is about; or why nothing is to be done, as an answer to its sender. */
export type Reading = EventFacts | { ignored: string }

/** One system that tells of events. */
export interface Source {
  /** Whether what proves the sender covers the body, too; else the headers alone tell. */
  signed(headers: IncomingHttpHeaders): boolean
  authenticate(delivery: Delivery): Identified | { refused: Refusal }
  /** INPUT_INVALID when the payload lacks what this kind of event must have. */
  read(headers: IncomingHttpHeaders, payload: unknown): Reading
  /** Whether it sends again, and again, what is answered with 4xx. */
  insists?: boolean
  /** Asks for what the payload does not tell. */
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

/** Whether one of the secrets was given; each is compared, so that time tells nothing. */
export function anySecret(given: string, secrets: readonly string[]): boolean {
  return secrets.reduce((found, one) => sameSecret(given, one) || found, false)
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
    .flatMap((one) => (one.startsWith('v1,') ? [one.slice(3)] : []))
  const signed = given.some((one) => anySignature(one, keys, 'base64', `${id}.${timestamp}.`, body))
  if (!signed) return { refused: 'wrong' }
  // Judged last: whoever has no key learns nothing of our clock.
  const age = now - Number(timestamp) * 1000
  return Math.abs(age) <= REPLAY_WINDOW ? { id } : { refused: 'stale' }
}

export const SIGNING_KEY = 'whsec_'

/** The bytes of `whsec_BASE64`. */
export const signingKey = (secret: string): Buffer =>
  Buffer.from(secret.slice(SIGNING_KEY.length), 'base64')

/** What steers a terminal, or turns the text around in it. */
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

/** The words of GitLab, GitHub and Gitea for it, in any part of a commit's message. */
const SKIP = /\[(?:ci[ _-]skip|(?:skip|no)[ _-]ci|skip actions|actions skip)\]/i

/** A commit's message: its first line, and why nothing is to be started for it. */
export const commitMessage = z.string().transform((text) => ({
  title: shortLine(text),
  skipped: SKIP.test(text) ? 'its commit says [skip ci]' : undefined,
}))

const isPage = (text: string) =>
  /^https?:\/\/[^\s"'<>\\]{1,2000}$/i.test(text) && !STEERING.test(text)

/** A page, or nothing when it is not one: it will be a link in somebody's chat. */
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

/** What git allows in a ref (git-check-ref-format), as far as it matters to us. */
export const refName = z
  .string()
  .max(255)
  .regex(/^(?!-)[^ ~^:?*[\\]+$/, 'is not a branch or tag')
  .refine((ref) => !STEERING.test(ref), 'is not a branch or tag')
  .refine((ref) => !ref.includes('..') && !ref.includes('@{'), 'is not a branch or tag')

/** 40 hex digits, or 64. */
export const commitSha = z.string().regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/, 'is not a commit')

/** What a push moved; or why nothing is to be done about it. */
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

/** git's way to say that there is none: the branch was made, or deleted. */
export const isNoCommit = (sha: string): boolean => /^0+$/.test(sha)

/** The SHA, or nothing where git says that there is none. */
export const commitOrNone = (sha: string | null | undefined): string =>
  sha && !isNoCommit(sha) ? sha : ''

/** Reads what we need of a payload; INPUT_INVALID names what is missing or not as it must be. */
export function readPayload<Schema extends z.ZodType>(
  schema: Schema,
  payload: unknown,
): z.output<Schema> {
  const result = schema.safeParse(payload, { reportInput: true })
  if (result.success) return result.data
  const lines = issueLines(result.error.issues).map(({ path, text }) => `${path.join('.')} ${text}`)
  // Names of fields are the sender's, too.
  const told = lines.slice(0, 5).map((line) => shortLine(line))
  throw new StepError('INPUT_INVALID', `the payload: ${told.join('; ')}`)
}

/** At most so many files are looked at, and names of this length. */
const MOST_PATHS = 2000
const LONGEST_PATH = 1000

/** The files of a push; undefined, so that every route counts it as its own, when they are too many. */
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
