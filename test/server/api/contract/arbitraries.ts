import fc, { type Arbitrary } from 'fast-check'
import type { Contract, Operation, Parameter, Schema } from './contract.ts'

/** Values that lead somewhere, by the name of a field: `app`, `env`, `id`. */
export type Known = Readonly<Record<string, readonly string[]>>

export interface GeneratedRequest {
  method: string
  /** Below /api/v1, with its query, encoded. */
  target: string
  headers: Record<string, string>
  body: string | undefined
  /** Whether the document says that it must be refused. */
  wrong: boolean
  /** Whether its path cannot be read at all: it is refused before it is asked who sends it. */
  unreadable: boolean
  /** Of a caller that is nobody. */
  credentials: string | undefined
}

const pollution = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty']
const oddNames = fc.oneof(
  fc.constantFrom(...pollution, '', 'settings', 'maven', 'args', 'out', 'a'.repeat(3000), '\u0000'),
  fc.string({ unit: 'binary', maxLength: 20 }),
)
const oddTexts = fc.oneof(
  fc.constantFrom('', '\u0000', '\u001b[2J', '../../etc/passwd', '$(id)', "' OR 1=1 --", '%'),
  fc.constantFrom('\u202e\u200b', 'ｗｅｂａｐｉ', '-1', '1e999', '--json', 'x'.repeat(9000)),
  fc.string({ unit: 'binary', maxLength: 50 }),
)
const deep = fc.integer({ min: 50, max: 20_000 }).map((depth) => ({
  toJSON: () =>
    JSON.parse(`${'['.repeat(Math.min(depth, 900))}${']'.repeat(Math.min(depth, 900))}`),
}))
const odd: Arbitrary<unknown> = fc.oneof(
  { weight: 3, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  { weight: 3, arbitrary: oddTexts },
  { weight: 1, arbitrary: fc.constantFrom(null, -1, 1e308, {}, [], true) },
  { weight: 1, arbitrary: deep },
  { weight: 1, arbitrary: fc.array(fc.constant('x'), { minLength: 101, maxLength: 3000 }) },
)

const byPattern = (pattern: string, { maxLength = 200 }: Schema): Arbitrary<string> =>
  pattern.startsWith('^[^')
    ? fc
        .string({ unit: 'grapheme', maxLength: Math.min(maxLength, 100) })
        .filter((text) => new RegExp(pattern, 'u').test(text))
    : fc.stringMatching(new RegExp(pattern))

/** What a schema allows; known values more often than others. */
export function allowedBy(
  given: Schema,
  { resolve }: Contract,
  known: Known,
  name = '',
): Arbitrary<unknown> {
  const schema = resolve(given)
  const inside = (part: Schema, key = name) => allowedBy(part, { resolve } as Contract, known, key)
  const { anyOf, oneOf, enum: choices, properties = {}, required = [], items, pattern } = schema
  const members = (anyOf ?? oneOf)?.flatMap((member) => resolve(member).oneOf ?? [member])
  if (members) return fc.oneof(...members.map((member) => inside(member)))
  if (choices) return fc.constantFrom(...choices)
  if (schema.type === 'object') {
    const fields = Object.entries(properties).map(
      ([key, part]) => [key, inside(part, key)] as const,
    )
    return fc.record(Object.fromEntries(fields), { requiredKeys: required, noNullPrototype: true })
  }
  if (schema.type === 'array' && items) return fc.array(inside(items), { maxLength: 4 })
  if (schema.type === 'boolean') {
    const usual = schema.default === true
    return fc.constantFrom(usual, usual, usual, !usual)
  }
  if (schema.type === 'integer') {
    return fc.integer({ min: schema.minimum ?? 0, max: schema.maximum ?? 1000 })
  }
  const { minLength = 0, maxLength = 100 } = schema
  const size = { minLength, maxLength: Math.max(minLength, Math.min(maxLength, 100)) }
  const texts = pattern ? byPattern(pattern, schema) : fc.string({ unit: 'grapheme', ...size })
  const usual = known[name] ?? []
  const fitting = usual.filter((text) => !pattern || new RegExp(pattern, 'u').test(text))
  if (fitting.length === 0) return texts
  return fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...fitting) },
    { weight: 1, arbitrary: texts },
  )
}

/** A value with one thing in it that is not as it was: the same often enough, mostly wrong. */
function spoilt(value: unknown): Arbitrary<unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return odd
  const keys = Object.keys(value)
  const entries = value as Record<string, unknown>
  const instead = (key: string, item: unknown) => ({ ...entries, [key]: item })
  const more = fc.tuple(oddNames, odd).map(([key, item]) =>
    // A plain assignment would set the prototype.
    Object.defineProperty({ ...entries }, key, { value: item, enumerable: true }),
  )
  const without = (key: string) =>
    Object.fromEntries(Object.entries(entries).filter(([name]) => name !== key))
  if (keys.length === 0) return fc.oneof(odd, more)
  const one = fc.constantFrom(...keys)
  return fc.oneof(
    odd,
    more,
    one.map(without),
    one.chain((key) => spoilt(entries[key]).map((item) => instead(key, item))),
  )
}

const json = (value: unknown) => JSON.stringify(value) ?? 'null'

interface Body {
  text: string | undefined
  type: string | undefined
  /** Where it is one, what it says. */
  value?: unknown
}

function bodyOf(schema: Schema, contract: Contract, known: Known): Arbitrary<Body> {
  const right = allowedBy(schema, contract, known)
  const whole = (value: unknown): Body => ({ ...{ text: json(value), type: JSON_TYPE }, value })
  const types = ['text/plain', 'application/xml', 'multipart/form-data', 'application/jsonx', '*/*']
  return fc.oneof(
    { weight: 6, arbitrary: right.map(whole) },
    { weight: 6, arbitrary: right.chain(spoilt).map(whole) },
    { weight: 1, arbitrary: fc.constant<Body>({ text: undefined, type: undefined }) },
    { weight: 1, arbitrary: broken(right).map((text) => ({ text, type: JSON_TYPE })) },
    {
      weight: 1,
      arbitrary: fc.tuple(right, fc.constantFrom(...types)).map(([value, type]) => ({
        ...{ text: json(value), type },
      })),
    },
  )
}

const JSON_TYPE = 'application/json'

/** Texts that are no JSON, too long, or say something twice. */
function broken(right: Arbitrary<unknown>): Arbitrary<string> {
  return fc.oneof(
    fc.constantFrom('', '{', '[]]', 'NaN', "{'a':1}", '\ufeff{}', '{"a":"\\ud800"}', 'null', '0'),
    fc.constantFrom('{"__proto__":{"admin":true}}', '{"constructor":{"prototype":{"a":1}}}'),
    fc.integer({ min: 1000, max: 60_000 }).map((depth) => '['.repeat(depth) + ']'.repeat(depth)),
    fc.integer({ min: 1000, max: 20_000 }).map((many) => `{"app":${'{"a":'.repeat(many)}1`),
    fc.constantFrom(200_000, 400_000).map((size) => json({ app: 'x'.repeat(size) })),
    right.map((value) => json(value).slice(1)),
    fc.string({ unit: 'binary', maxLength: 100 }),
  )
}

interface Part {
  text: string
  wrong: boolean
}

/** A request line that Node reads is not longer than 16 KiB. */
const encode = (value: unknown) =>
  encodeURIComponent(
    String(value)
      .slice(0, 1500)
      .replace(/\p{Surrogate}/gu, '\ufffd'),
  )

/** Values for a path, a query or a header, as they are written there. */
function partOf(parameter: Parameter, contract: Contract, known: Known): Arbitrary<Part> {
  const { schema, name, in: place } = parameter
  const right = allowedBy(schema, contract, known, name)
    .map((value) => (place === 'header' ? String(value) : encode(value)))
    .map((text) => ({ text, wrong: false }))
  if (place === 'header') {
    const odds = fc.constantFrom('', ' ', '\u00e9', 'x'.repeat(4000), '0-0,0-0', '-1')
    return fc.oneof({ weight: 3, arbitrary: right }, odds.map(unsure))
  }
  const raw = fc.constantFrom('%00', '%ff', '%2e%2e%2f', '%252e', 'a%20b', '%', 'a'.repeat(300))
  return fc.oneof(
    { weight: 4, arbitrary: right },
    raw.map(unsure),
    oddTexts.map(encode).map(unsure),
  )
}

const unsure = (text: string): Part => ({ text, wrong: false })

/** Names and values of a query; now and then one that is not there, or twice. */
function queryOf(all: Parameter[], contract: Contract, known: Known): Arbitrary<Part[]> {
  const each = all.map((parameter) => {
    const value = partOf(parameter, contract, known)
    const pair = value.map(({ text }): Part[] => [unsure(`${parameter.name}=${text}`)])
    return parameter.required
      ? fc.oneof({ weight: 6, arbitrary: pair }, fc.constant([{ text: '', wrong: true }]))
      : fc.oneof(pair, fc.constant([]))
  })
  const more = fc
    .tuple(oddNames, oddTexts)
    .filter(([name]) => !all.some((parameter) => parameter.name === name) && name !== '')
    .map(([name, text]): Part[] => [{ text: `${encode(name)}=${encode(text)}`, wrong: true }])
  const twice = fc.constant(
    all.slice(0, 1).flatMap(({ name }): Part[] => [
      { text: `${name}=1`, wrong: true },
      { text: `${name}=2`, wrong: true },
    ]),
  )
  const extra = fc.oneof({ weight: 5, arbitrary: fc.constant<Part[]>([]) }, more, twice)
  return fc.tuple(extra, ...each).map((parts) => parts.flat())
}

/** Requests of an operation, right ones and wrong ones, made from what the document says of it. */
export function requestsOf(
  operation: Operation,
  contract: Contract,
  known: Known,
  isAllowed: (schema: Schema, value: unknown) => boolean,
): Arbitrary<GeneratedRequest> {
  const { method, path, parameters = [], requestBody } = operation
  const at = (place: Parameter['in']) => parameters.filter((parameter) => parameter.in === place)
  const parts = (place: Parameter['in']) =>
    fc.record(
      Object.fromEntries(at(place).map((one) => [one.name, partOf(one, contract, known)])),
      { requiredKeys: place === 'path' ? at(place).map(({ name }) => name) : [] },
    )
  const schema = requestBody?.content?.[JSON_TYPE]?.schema
  const body = schema ? bodyOf(schema, contract, known) : noBody
  return fc
    .record({
      path: parts('path'),
      query: queryOf(at('query'), contract, known),
      headers: parts('header'),
      body,
      credentials,
    })
    .map(({ body, headers, query, credentials, ...chosen }) => {
      const filled = path.replace(/\{(\w+)\}/g, (_all, name) => chosen.path[name]?.text ?? '')
      const search = query
        .map(({ text }) => text)
        .filter((text) => text !== '')
        .join('&')
      const texts = Object.entries(headers).flatMap(([name, part]) =>
        // HTTP sends no other characters in a header.
        part ? [[name, part.text.replace(/[^\x20-\x7e]/g, '')]] : [],
      )
      const wrongBody =
        schema !== undefined &&
        (body.type !== JSON_TYPE ||
          !('value' in body) ||
          !isAllowed(schema, JSON.parse(body.text ?? 'null')))
      return {
        ...{ method, body: body.text, credentials },
        target: search === '' ? filled : `${filled}?${search}`,
        headers: {
          ...Object.fromEntries(texts),
          ...(body.type !== undefined && { 'content-type': body.type }),
        },
        unreadable: !isReadable(filled),
        wrong: wrongBody || query.some(({ wrong }) => wrong),
      }
    })
}

const LONGEST_NAME = 100

function isReadable(path: string): boolean {
  try {
    return path.split('/').every((part) => decodeURIComponent(part).length <= LONGEST_NAME)
  } catch {
    return false
  }
}

/** Where none is expected there is one now and then. */
const noBody: Arbitrary<Body> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Body>({ text: undefined, type: undefined }) },
  fc.constantFrom<Body[]>({ text: '{', type: JSON_TYPE }, { text: '<a/>', type: 'text/xml' }),
)

/** What somebody might send who has nothing. */
const credentials = fc.constantFrom(
  ...[undefined, undefined, '', 'Bearer', 'Bearer x', 'Basic bGk6bGk=', 'DPoP x', 'null', '\u00e9'],
  `Bearer cct_${'A'.repeat(43)}`,
  `DPoP ccs_${'A'.repeat(43)}`,
  `Bearer ${'A'.repeat(600)}`,
)
