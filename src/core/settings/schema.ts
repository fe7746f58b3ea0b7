import { z } from 'zod'
import { didYouMean } from './suggest.ts'

/** Building blocks for settings and inputs: texts become typed values. */

const durationUnits: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 24 * 3_600_000,
}

/** A duration that stays text, to be passed on. */
export const durationText = z
  .string()
  .regex(/^\d+(ms|s|m|h|d)$/, 'is not a duration; write 500ms, 60s, 5m, 1h or 7d')

/** `500ms`, `60s`, `5m`, `1h`, `7d` → milliseconds. */
export const duration = durationText.transform((text) => unitValue(text, durationUnits))

/** Timers of Node end at once where they are asked for more than 24 days. */
const LONGEST = 7 * 24 * 3_600_000

/** A duration that is waited for. */
export const waitingTime = duration.refine(
  (milliseconds) => milliseconds <= LONGEST,
  'is more than 7d',
)

const sizeUnits: Record<string, number> = { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }

/** `512m`, `1g` → bytes, in docker's notation. */
export const byteSize = z
  .string()
  .regex(/^\d+[bkmg]$/, 'is not a size; write 512m or 1g')
  .transform((text) => unitValue(text, sizeUnits))
  .refine(Number.isSafeInteger, 'is too large')

/** A text that becomes a type where it enters; what the reader throws is the problem reported. */
export function parsed<T>(read: (text: string) => T) {
  return z.string().transform((text, check): T => readOrReport(() => read(text), check))
}

/** Reports what is wrong with one field of a map. */
export type ReportField = (name: string, message: string) => void

/**
 * A rule over several fields of a map, for `.check()`. Unlike Zod's own it is looked at even where
 * fields are wrong by themselves, so that all problems are reported at once.
 */
export function acrossFields<T extends object>(rule: (fields: T, report: ReportField) => void) {
  const check = z.check<T>(({ value, issues }) => {
    if (typeof value !== 'object' || value === null) return
    rule(value, (name, message) => {
      const isReported = issues.some(({ path }) => path?.[0] === name)
      if (!isReported) issues.push({ code: 'custom', input: value, path: [name], message })
    })
  })
  check._zod.def.when = () => true
  return check
}

/** What a reader returns; what it throws is a problem of the setting at `path`, seen from here. */
export function readOrReport<T>(
  read: () => T,
  check: z.RefinementCtx,
  path: readonly string[] = [],
): T {
  try {
    return read()
  } catch (error) {
    check.addIssue({ code: 'custom', message: (error as Error).message, path: [...path] })
    return z.NEVER
  }
}

function unitValue(text: string, units: Record<string, number>): number {
  const unit = text.replace(/^\d+/, '')
  return Number.parseInt(text, 10) * (units[unit] ?? 1)
}

/**
 * Names of applications, environments and hosts: safe in paths, labels, container and image names.
 */
export const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
export const objectName = z
  .string()
  .regex(NAME, 'is not a name; use lower-case letters, digits and inner hyphens, 63 at most')

/** A version is an image tag as well. */
export const VERSION = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
export const version = z
  .string()
  .regex(VERSION, 'is not a version; use letters, digits and . _ -, 128 at most')

/** An absolute path inside a container. */
export const containerPath = z.string().refine((path) => {
  const parts = path.replace(/\/$/, '').split('/')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is refused
  const clean = parts.slice(1).every((part) => !/^\.{0,2}$|[\x00-\x1f]/.test(part))
  return parts.length > 1 && parts[0] === '' && clean
}, 'is not an absolute path without ".", ".." and empty parts')

/** The PEM files that TLS to a server needs; read them with readTlsFiles. */
export const tlsFileFields = {
  ca: z.string().optional().describe('PEM file of the authority that signed its certificate'),
  cert: z.string().optional().describe('PEM file of our own certificate'),
  key: z.string().optional().describe("PEM file of that certificate's key"),
}

/** The shared secret of a webhook: guessing it would be enough to start pipelines. */
export const webhookSecret = z
  .string()
  .min(16, 'is shorter than 16 characters; make one with: openssl rand -hex 32')
  .refine((secret) => !/^\$\w+$/.test(secret), 'is the name of a variable; write ${NAME}')
  .refine(isKeyOrText, 'begins with whsec_ and is no key: that takes 16 bytes or more in base64')

/** Invalid base64 decodes to an empty key, with which everybody could sign. */
function isKeyOrText(secret: string): boolean {
  const [, key] = /^whsec_(.*)$/s.exec(secret) ?? []
  if (key === undefined) return true
  return /^[A-Za-z0-9+/]+={0,2}$/.test(key) && Buffer.from(key, 'base64').length >= 16
}

/** Zod's issues as path and problem; with the schema, also a suggestion for a misspelt key. */
export function issueLines(
  issues: readonly z.core.$ZodIssue[],
  schema?: z.ZodType,
  unknown = 'is not a known setting',
): { path: string[]; text: string }[] {
  return issues.flatMap((issue) => {
    const path = issue.path.map(String)
    if (issue.code === 'unrecognized_keys') {
      const known = schema ? knownKeys(schema, path) : []
      return issue.keys.map((key) => ({
        path: [...path, key],
        text: `${unknown}${didYouMean(key, known)}`,
      }))
    }
    const inside = unionIssues(issue)
    if (inside) return issueLines(inside, schema, unknown)
    return [{ path, text: textOf(issue) }]
  })
}

/**
 * The problems inside the member of a union that the value was meant for: the type is right, and least
 * else is wrong.
 */
function unionIssues(issue: z.core.$ZodIssue): z.core.$ZodIssue[] | undefined {
  if (issue.code !== 'invalid_union' || issue.message !== 'Invalid input') return undefined
  const [meant] = issue.errors
    .filter((errors) =>
      errors.every(({ path, code }) => path.length > 0 || code === 'unrecognized_keys'),
    )
    .sort((one, other) => problemsIn(one) - problemsIn(other))
  return meant?.map((each) => ({ ...each, path: [...issue.path, ...each.path] }))
}

const problemsIn = (issues: readonly z.core.$ZodIssue[]) =>
  issues.reduce(
    (sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1),
    0,
  )

interface Node {
  properties?: Record<string, Node>
  additionalProperties?: Node | boolean
  items?: Node
  anyOf?: Node[]
  oneOf?: Node[]
}

/** The keys that the map at this path may have. */
function knownKeys(schema: z.ZodType, path: readonly string[]): string[] {
  const whole = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Node
  const inside = (node: Node, part: string) => {
    const { properties, additionalProperties, items } = node
    const next = properties?.[part] ?? items ?? additionalProperties
    return typeof next === 'object' ? branches(next) : []
  }
  const nodes = path.reduce(
    (found, part) => found.flatMap((node) => inside(node, part)),
    branches(whole),
  )
  return nodes.flatMap(({ properties = {} }) => Object.keys(properties))
}

const branches = (node: Node): Node[] => [
  node,
  ...[...(node.anyOf ?? []), ...(node.oneOf ?? [])].flatMap(branches),
]

const nouns: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list: [one, another]',
  tuple: 'a list',
  object: 'a map',
  record: 'a map',
}

/** Our own messages unchanged; the frequent messages of Zod in plain words. */
function textOf(issue: z.core.$ZodIssue): string {
  const { code, message, input } = issue
  if (!/^(?:Invalid|Too) /.test(message)) return message
  if (code === 'invalid_type') {
    if (input === undefined) return message.includes('undefined') ? 'is required' : message
    return `is ${nounOf(input)}; write ${nouns[issue.expected] ?? issue.expected}`
  }
  if (code === 'invalid_union') return unionText(issue)
  if (code === 'invalid_value') return `is not one of ${issue.values.join(', ')}`
  if (code === 'invalid_format' && issue.format === 'url') return 'is no URL'
  if (code === 'too_small') {
    const empty = issue.origin === 'string' || issue.origin === 'array'
    return empty && Number(issue.minimum) === 1 ? 'is empty' : `is less than ${issue.minimum}`
  }
  return code === 'too_big' ? `is more than ${issue.maximum}` : message
}

function unionText({ errors, input, message }: z.core.$ZodIssueInvalidUnion): string {
  const expected = errors.flatMap((each) =>
    each.flatMap((inner) =>
      inner.code === 'invalid_type' ? (nouns[inner.expected] ?? inner.expected) : [],
    ),
  )
  if (input === undefined || expected.length === 0) return message
  return `is ${nounOf(input)}; write ${[...new Set(expected)].join(' or ')}`
}

function nounOf(input: unknown): string {
  if (input === null) return 'empty'
  if (Array.isArray(input)) return 'a list'
  if (typeof input === 'string') return 'a text'
  // Not the value itself: it may be a secret that only lacks its quotes.
  if (typeof input !== 'object') return typeof input === 'boolean' ? 'true or false' : 'a number'
  // {{name}} without quotes is a map to YAML.
  return Object.keys(input).some((key) => key.startsWith('{'))
    ? 'a map, as {{…}} is not in quotes'
    : 'a map'
}
