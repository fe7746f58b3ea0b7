import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { z } from 'zod'
import {
  digestFile,
  isDigest,
  parseDigest,
  sha256,
  shortDigest,
  verifyingStream,
} from '../../src/core/digest.ts'
import {
  cancelled,
  describe,
  type ErrorCode,
  errorCodeOf,
  explain,
  isStepError,
  StepError,
  throwIfCancelled,
  toStepError,
} from '../../src/core/errors.ts'
import { retry, wait } from '../../src/core/retry.ts'
import {
  byteSize,
  containerPath,
  duration,
  issueLines,
  objectName,
  version,
} from '../../src/core/settings/schema.ts'
import { temporaryFolder } from '../support/temporary.ts'

await t.test('each error code has its exit code', async (t) => {
  const expected: Record<ErrorCode, number> = {
    INPUT_INVALID: 2,
    UNAUTHORIZED: 1,
    FORBIDDEN: 1,
    NOT_FOUND: 1,
    CONFLICT: 1,
    GATE_CLOSED: 1,
    VERIFY_FAILED: 1,
    COMMAND_FAILED: 1,
    UNAVAILABLE: 75,
    CANCELLED: 1,
    INTERNAL: 1,
  }
  for (const [code, exit] of Object.entries(expected)) {
    t.equal(new StepError(code as ErrorCode, 'x').exitCode, exit, code)
  }
  t.equal(new StepError('VERIFY_FAILED', 'x', { retryable: true }).exitCode, 75)
  t.equal(new StepError('UNAVAILABLE', 'x', { retryable: false }).exitCode, 1)
})

await t.test('anything that is thrown becomes a StepError', async (t) => {
  const own = new StepError('CONFLICT', 'mine', { hint: 'do' })
  t.equal(toStepError(own), own)
  t.match(toStepError('a text'), { code: 'INTERNAL', message: 'a text' })
  t.match(toStepError(new TypeError('bug')), { code: 'INTERNAL', message: 'bug' })
  for (const [code, expected] of [
    ['ENOSPC', 'COMMAND_FAILED'],
    ['EACCES', 'COMMAND_FAILED'],
    ['EROFS', 'COMMAND_FAILED'],
    ['EDQUOT', 'COMMAND_FAILED'],
    ['ENOENT', 'NOT_FOUND'],
  ] as const) {
    const system = Object.assign(new Error(`${code}: /some/path`), { code })
    const known = toStepError(new Error('wrapped', { cause: system }))
    t.equal(known.code, expected)
    t.ok(known.hint, `${code} says what to do`)
  }
  const abort = new AbortController()
  abort.abort(own)
  const thrown = await wait(1000, abort.signal).catch((error) => error)
  t.equal(thrown, own, 'the reason of the signal is the error')
  t.match(toStepError(new DOMException('x', 'AbortError')), { code: 'CANCELLED' })
})

await t.test('an explained error keeps everything but its message', async (t) => {
  const details = { status: 503 }
  const args = { peer: 'harbor' }
  const options = { hint: 'wait', retryable: true, retryAfter: 1500, details, args }
  const low = new StepError('UNAVAILABLE', 'no answer', options)
  const explained = explain('pulling x', low)
  const expected = { code: 'UNAVAILABLE', message: 'pulling x: no answer', cause: low, ...options }
  t.match(explained, expected)
  t.equal(explained.exitCode, 75)
  t.ok(isStepError(explained, 'UNAVAILABLE') && !isStepError(explained, 'CONFLICT'))
  t.notOk(isStepError(new Error('x')))
})

await t.test(
  'an error is changed in what is named, and is the cause unless another is',
  async (t) => {
    const low = new StepError('UNAVAILABLE', 'secret', { hint: 'wait', retryAfter: 5 })
    const forbidden = low.with({ code: 'FORBIDDEN', retryable: false })
    t.match(forbidden, {
      code: 'FORBIDDEN',
      message: 'secret',
      hint: 'wait',
      exitCode: 1,
      cause: low,
    })
    const hidden = low.with({ message: '…', hint: undefined, cause: undefined })
    t.match(hidden, { code: 'UNAVAILABLE', message: '…', hint: undefined, retryAfter: 5 })
    t.equal(hidden.cause, undefined, 'what was hidden is not in the causes')
  },
)

await t.test('the code and the text of an error of Node are found', async (t) => {
  const refused = Object.assign(new Error(''), { code: 'ECONNREFUSED' })
  t.equal(errorCodeOf(new AggregateError([refused])), 'ECONNREFUSED', 'happy eyeballs')
  t.equal(errorCodeOf(new Error('fetch failed', { cause: refused })), 'ECONNREFUSED')
  t.equal(errorCodeOf(new AggregateError([])), undefined)
  t.equal(errorCodeOf('ENOENT'), undefined)
  t.equal(describe(refused), 'ECONNREFUSED', 'never an empty line')
  t.equal(describe(new Error()), 'Error')
  t.equal(describe(7), '7')
})

await t.test('an aborted signal is the error CANCELLED', async (t) => {
  throwIfCancelled(undefined)
  throwIfCancelled(new AbortController().signal)
  t.throws(() => throwIfCancelled(AbortSignal.abort()), { code: 'CANCELLED' })
  t.ok(cancelled(AbortSignal.abort()).hint)
})

await t.test('digest: texts and files get their MD5 and SHA-256', async (t) => {
  const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
  t.equal(sha256(''), `sha256:${empty}`)
  t.equal(shortDigest(sha256('')), `sha256:${empty.slice(0, 12)}`)
  t.equal(parseDigest(sha256('')), sha256(''))
  for (const bad of ['', empty, `sha256:${empty.toUpperCase()}`, `sha512:${empty}`]) {
    t.notOk(isDigest(bad))
    t.throws(() => parseDigest(bad, '--digest'), { code: 'INPUT_INVALID', message: /^--digest: / })
  }
  const path = join(await temporaryFolder(t), 'file')
  const bytes = Buffer.alloc(3_000_001, 'abc')
  await writeFile(path, bytes)
  t.strictSame(await digestFile(path), {
    size: bytes.length,
    md5: createHash('md5').update(bytes).digest('hex'),
    sha256: createHash('sha256').update(bytes).digest('hex'),
  })
  const stopped = digestFile(path, AbortSignal.abort(new StepError('CANCELLED', 'stopped')))
  t.match(toStepError(await stopped.catch((error) => error)), { code: 'CANCELLED' })
  const absent = await digestFile(`${path}x`).catch((error) => toStepError(error))
  t.match(absent, { code: 'NOT_FOUND' })
})

await t.test('digest: a verifying stream fails unless the content matches', async (t) => {
  const content = Buffer.from('the content')
  const digest = sha256(content)
  const through = (bytes: Buffer, size?: number) =>
    buffer(
      Readable.from([bytes.subarray(0, 4), bytes.subarray(4)]).compose(
        verifyingStream('blob x', { digest, ...(size !== undefined && { size }) }),
      ),
    )
  t.strictSame(await through(content), content)
  t.strictSame(await through(content, content.length), content)
  for (const wrong of [through(Buffer.from('the contenT')), through(content, 12)]) {
    const error = await wrong.catch((caught) => caught)
    t.match(error, { code: 'VERIFY_FAILED', retryable: true, message: /^blob x: got sha256:/ })
  }
})

await t.test('retry: only retryable errors are retried, and not for ever', async (t) => {
  const unavailable = () => new StepError('UNAVAILABLE', 'busy')
  let calls = 0
  const pauses: number[] = []
  const result = await retry(
    async (attempt) => {
      calls++
      if (attempt < 3) throw unavailable()
      return attempt
    },
    { firstPause: 10, onRetry: (_error, attempt, pause) => pauses.push(attempt, pause) },
  )
  t.strictSame([result, calls, pauses.length], [3, 3, 4])
  t.ok((pauses[1] ?? 0) >= 5 && (pauses[1] ?? 0) < 15, 'jitter around the first pause')
  t.ok((pauses[3] ?? 0) >= 10 && (pauses[3] ?? 0) < 30, 'the pause doubles')

  calls = 0
  const always = retry(
    async () => {
      calls++
      throw unavailable()
    },
    { firstPause: 1, attempts: 4 },
  )
  await t.rejects(always, { code: 'UNAVAILABLE', message: 'busy' })
  t.equal(calls, 4)

  calls = 0
  const final = retry(async () => {
    calls++
    throw new StepError('UNAUTHORIZED', 'no')
  })
  await t.rejects(final, { code: 'UNAUTHORIZED' })
  t.equal(calls, 1, 'what will not pass is not tried again')
})

await t.test('retry: Retry-After is respected up to a limit', async (t) => {
  const pauses: number[] = []
  const stop = new AbortController()
  const ask = (milliseconds: number) =>
    new StepError('UNAVAILABLE', 'later', { retryAfter: milliseconds })
  const start = Date.now()
  await retry(
    async (attempt) => {
      if (attempt === 1) throw ask(200)
    },
    { firstPause: 5, onRetry: (_error, _attempt, pause) => pauses.push(pause) },
  )
  t.ok(Date.now() - start >= 195)
  t.strictSame(pauses, [200])

  const long = retry(async () => Promise.reject(ask(3_600_000)), {
    signal: stop.signal,
    onRetry: (_error, _attempt, pause) => pauses.push(pause),
  })
  setTimeout(() => stop.abort(), 50)
  const began = Date.now()
  await t.rejects(long, { code: 'CANCELLED' }, 'cancelled in the pause')
  t.ok(Date.now() - began < 1000, 'at once')
  t.equal(pauses[1], 30_000)
  await t.rejects(
    retry(async () => t.fail('must not run'), { signal: stop.signal }),
    { code: 'CANCELLED' },
  )
})

await t.test('schema: texts become typed values', async (t) => {
  t.strictSame(
    ['500ms', '60s', '5m', '1h'].map((text) => duration.parse(text)),
    [500, 60_000, 300_000, 3_600_000],
  )
  t.strictSame(
    ['1b', '2k', '512m', '1g'].map((text) => byteSize.parse(text)),
    [1, 2048, 512 * 2 ** 20, 2 ** 30],
  )
  const refused: [z.ZodType, string[]][] = [
    [duration, ['60', '1.5s', '-1s', ' 1s', '1s\n', '']],
    [byteSize, ['512', '1G', '1gb', '-1m']],
    [objectName, ['', 'A', 'a_b', '-a', 'a-', 'a.b', 'a/b', '../a', `a${'b'.repeat(63)}`, 'a\n']],
    [version, ['', '-1', '.1', '1 2', '1/2', '1\n', `1${'0'.repeat(128)}`]],
    [containerPath, ['', 'a', '/', '/a/../b', '/..', '/a\n', '/a//b', '/a/./b']],
  ]
  for (const [schema, texts] of refused) {
    for (const text of texts) t.notOk(schema.safeParse(text).success, JSON.stringify(text))
  }
  for (const name of ['a', 'a-b', '1', 'a'.repeat(63)]) t.ok(objectName.safeParse(name).success)
  for (const path of ['/a', '/usr/local/tomcat/webapps/ROOT', '/a b/ü', '/a..b/...']) {
    t.ok(containerPath.safeParse(path).success, path)
  }
})

await t.test('schema: each issue is a line', async (t) => {
  const schema = z.strictObject({ a: z.string(), b: z.object({ c: z.number() }).optional() })
  const lines = (value: unknown) =>
    issueLines(schema.safeParse(value, { reportInput: true }).error?.issues ?? []).map(
      ({ path, text }) => `${path.join('.')} ${text}`,
    )
  t.strictSame(lines({}), ['a is required'])
  t.strictSame(lines({ a: 'x', z: 1, y: 2 }), [
    'z is not a known setting',
    'y is not a known setting',
  ])
  t.match(lines({ a: 'x', b: { c: 'no' } })[0], /^b\.c .*number/)
})

await t.test('schema: a misspelt key gets a suggestion at any depth', async (t) => {
  const inner = z.strictObject({ image: z.string() })
  const schema = z
    .strictObject({
      environments: z.record(z.string(), inner).default({}),
      routes: z.array(inner.prefault({ image: 'x' })).optional(),
      hosts: z.union([z.string(), inner]).optional(),
    })
    .superRefine(() => {})
  const wrong = { image: 'x', imag: 'y' }
  const { error } = schema.safeParse({
    environments: { test: wrong },
    routes: [{ image: 'x' }, wrong],
    hots: 'x',
    zzz: 1,
  })
  const lines = issueLines(error?.issues ?? [], schema)
  t.strictSame(
    lines.map(({ path, text }) => `${path.join('.')} ${text}`),
    [
      'environments.test.imag is not a known setting: did you mean image?',
      'routes.1.imag is not a known setting: did you mean image?',
      'hots is not a known setting: did you mean hosts?',
      'zzz is not a known setting',
    ],
  )
})
