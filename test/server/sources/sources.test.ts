import { readdirSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { isStepError } from '../../../src/core/errors.ts'
import { createGenericSource, genericHow } from '../../../src/server/sources/generic.ts'
import { createGithubSource } from '../../../src/server/sources/github.ts'
import { createGitlabSource } from '../../../src/server/sources/gitlab.ts'
import { createHarborSource } from '../../../src/server/sources/harbor.ts'
import { REPLAY_WINDOW, type Source } from '../../../src/server/sources/source.ts'
import {
  fixture,
  githubHeaders,
  hex,
  SIGNING_SECRET,
  standardHeaders,
} from '../../support/data/signatures.ts'

const SECRET = 'a-secret-of-the-test-1'
const OTHER = 'another-secret-of-the-test'
const COMMIT = '9d1c3b5a7e8f60213c4d5e6f708192a3b4c5d6e7'
const DIGEST = `sha256:${'7f1c'.repeat(16)}`
const now = Date.now()

const plainFacts = { project: '/repo/path', ref: '/branch', commit: '/sha', by: '/who' }
const how = (more: object) => genericHow.parse({ facts: plainFacts, ...more })
const sources: Record<string, Source> = {
  gitlab: createGitlabSource({ secrets: [OTHER, SECRET, SIGNING_SECRET] }),
  github: createGithubSource({ secrets: [OTHER, SECRET] }),
  harbor: createHarborSource({ secrets: [OTHER, SECRET] }),
  generic: createGenericSource({
    via: 'ci',
    secrets: [SIGNING_SECRET],
    how: genericHow.parse({
      facts: { ...plainFacts, title: '/line', url: '/page' },
    }),
  }),
}
const source = (name: string) => sources[name] as Source
const read = (name: string, headers: Record<string, string> = {}) =>
  source(name.split('/')[0] ?? '').read(headers, fixture(name))

t.test('the payload of each kind gives the facts of its event', async (t) => {
  const common = { project: 'team/webapi', ref: 'main', commit: COMMIT, by: 'li' }
  const pushed = { ...common, kind: 'push', title: 'Round prices to cents' }
  const scanned = { project: 'team/webapi', kind: 'scan', by: 'auto' }
  const image = { registry: 'harbor.example.com', repository: 'team/webapi', digest: DIGEST }
  const paths = ['src/main/java/Prices.java', 'pom.xml', 'src/main/java/Prices.java', 'docs/old.md']
  const round = { ref: 'feature/round', request: { number: 16 } }
  const facts: Record<string, object> = {
    'gitlab/push': { ...pushed, source: 'gitlab', via: 'gitlab', paths },
    'gitlab/push-deleted': { ignored: 'the branch or tag was deleted' },
    'gitlab/push-new-branch': { ...common, ref: 'feature/round', paths: undefined },
    'gitlab/push-many': { ...pushed, paths: undefined },
    'gitlab/tag_push': { ...common, kind: 'tag', ref: 'v1.4.2', title: 'Release 1.4.2' },
    'gitlab/merge_request': {
      ...common,
      kind: 'merge-request',
      ref: 'feature/round',
      title: 'Round prices',
      request: { number: 16 },
    },
    'gitlab/note-merge_request': {
      ...common,
      ...round,
      kind: 'comment',
      comment: '/crosscloud status',
      url: 'https://gitlab.example.com/team/webapi/-/merge_requests/16#note_1244',
    },
    'gitlab/note-issue': { ignored: 'only comments on merge requests are used' },
    'gitlab/pipeline': {
      ...common,
      kind: 'pipeline',
      pipeline: { id: 812, end: 'succeeded', event: '0mwt7rbwpcd080f1efaec' },
    },
    'gitlab/build': { ignored: 'events of kind build are not used' },
    'gitlab/deployment': { ignored: 'events of kind deployment are not used' },
    'github/ping': { ignored: 'ping' },
    'github/push': {
      ...pushed,
      source: 'github',
      paths: ['src/Prices.java', 'pom.xml', 'src/Prices.java', 'docs/old.md'],
    },
    'github/push-tag': { ...common, kind: 'tag', ref: 'v1.4.2' },
    'github/push-deleted': { ignored: 'the branch or tag was deleted' },
    'github/pull_request': {
      ...common,
      kind: 'merge-request',
      ref: 'feature/round',
      title: 'Round prices',
      request: { number: 16 },
    },
    'github/issue_comment': {
      kind: 'comment',
      project: 'team/webapi',
      by: 'li',
      comment: '/crosscloud status',
      request: { number: 16 },
    },
    'github/issue_comment-issue': { ignored: 'only comments on pull requests are used' },
    'github/workflow_run': {
      ...common,
      kind: 'pipeline',
      pipeline: { id: 30433642, end: 'succeeded', event: '0mwt7rbwpcd080f1efaec' },
    },
    'github/check_run': { ignored: 'events of kind check_run are not used' },
    'harbor/push_artifact': {
      kind: 'artifact',
      project: 'team/webapi',
      by: 'robot$team+ci',
      ref: '',
      image: { ...image, tag: '1.4.2' },
    },
    'harbor/push_artifact-by-digest': { kind: 'artifact', image: { ...image, tag: '' } },
    'harbor/push_artifact-cloudevents': {
      kind: 'artifact',
      by: 'robot$team+ci',
      image: { ...image, tag: '1.4.2' },
    },
    'harbor/scanning_completed': {
      ...scanned,
      scan: { state: 'success', severity: 'Critical' },
      image: { ...image, tag: '1.4.2' },
    },
    'harbor/scanning_completed-clean': { ...scanned, scan: { state: 'success', severity: 'None' } },
    'harbor/scanning_failed': { ...scanned, scan: { state: 'failed' } },
    'harbor/delete_artifact': { ignored: 'events of type DELETE_ARTIFACT are not used' },
    'generic/plain': {
      ...common,
      source: 'generic',
      via: 'ci',
      kind: 'custom',
      title: 'Round prices',
      url: 'https://ci.example.com/7',
    },
  }
  for (const [name, expected] of Object.entries(facts)) {
    const event = name.split('/')[1]?.split('-')[0] ?? ''
    t.match(read(name, { 'x-github-event': event }), expected, name)
  }
  const here = Object.keys(facts).length
  const all = Object.keys(sources).flatMap((one) =>
    readdirSync(new URL(`../fixtures/${one}`, import.meta.url)),
  )
  t.equal(here + 1, all.length, 'each of the fixtures was read; generic/nexus is below')
})

t.test('JSON pointers of a generic source give the facts of its payload', async (t) => {
  const of = (facts: Record<string, string>, payload: unknown = fixture('generic/plain')) =>
    createGenericSource({
      via: 'ci',
      secrets: [SECRET],
      how: how({ signature: 'token', facts }),
    }).read({}, payload)
  const nexus = fixture('generic/nexus')
  const read = of(
    { project: '/component/name', title: '/component/version', by: '/initiator' },
    nexus,
  )
  t.match(read, { project: 'webapi', title: '1.4.2', by: 'li/192.0.2.7', ref: '' })
  t.match(of({ project: '/repo/a~1b/c~0d' }), { project: 'team/odd' })
  t.match(of({ project: '=team/fixed', title: '/number' }), { project: 'team/fixed', title: '7' })
  for (const project of ['/absent', '/number/x', '/repo', '/constructor/name', '/__proto__/x']) {
    t.throws(() => of({ project }), { code: 'INPUT_INVALID', message: /project at/ }, project)
  }
  t.throws(() => of({ project: '/repo/path', ref: '/line' }), { message: /is not a branch or tag/ })
  t.throws(() => how({ facts: { project: 'repo' } }), /is no JSON pointer/)
})

t.test('a delivery is authenticated by its signature or token only', async (t) => {
  const body = Buffer.from(JSON.stringify(fixture('gitlab/push')))
  const check = (name: string, headers: Record<string, string>, content = body) =>
    source(name).authenticate({ headers, body: content, now })
  const seconds = Math.floor(now / 1000)
  const limit = REPLAY_WINDOW / 1000

  t.match(check('gitlab', { 'x-gitlab-token': SECRET, 'idempotency-key': 'k' }), { id: 'k' })
  const uuid = { 'x-gitlab-token': SECRET, 'x-gitlab-event-uuid': 'u' }
  t.match(check('gitlab', uuid), { id: /^u [0-9a-f]{64}$/ }, 'without a key the content counts')
  t.strictSame(check('gitlab', {}), { refused: 'missing' })
  t.strictSame(check('gitlab', { 'x-gitlab-token': `${SECRET}x` }), { refused: 'wrong' })
  t.strictSame(
    check('gitlab', { 'x-gitlab-token': SIGNING_SECRET }),
    { refused: 'wrong' },
    'a signing key is no token',
  )
  for (const name of ['gitlab', 'generic']) {
    const signed = (more = {}) => standardHeaders(body, { seconds, ...more })
    t.strictSame(check(name, signed({ id: 'm' })), { id: 'm' }, `${name}: signed`)
    t.strictSame(
      check(name, { ...signed(), 'webhook-id': 'other' }),
      { refused: 'wrong' },
      'taken over',
    )
    t.strictSame(check(name, signed(), Buffer.from(`${body} `)), { refused: 'wrong' }, 'tampered')
    t.strictSame(check(name, signed({ secret: `whsec_${btoa(OTHER)}` })), { refused: 'wrong' })
    t.strictSame(check(name, signed({ seconds: seconds - limit - 2 })), { refused: 'stale' })
    t.strictSame(
      check(name, signed({ seconds: seconds + limit + 2 })),
      { refused: 'stale' },
      'of the future',
    )
    t.strictSame(check(name, { ...signed(), 'webhook-timestamp': 'x' }), { refused: 'wrong' })
    const { 'webhook-id': _id, ...without } = signed()
    t.strictSame(check(name, without), { refused: 'missing' })
    const two = `v1,AAAA ${signed()['webhook-signature']}`
    t.match(
      check(name, { ...signed(), 'webhook-signature': two }),
      { id: 'msg_1' },
      'one of two keys',
    )
  }
  const wrong = {
    ...standardHeaders(body, { secret: `whsec_${btoa(OTHER)}` }),
    'x-gitlab-token': SECRET,
  }
  t.strictSame(
    check('gitlab', wrong),
    { refused: 'wrong' },
    'a right token does not mend a wrong signature',
  )

  t.match(check('github', githubHeaders('push', SECRET, body)), {
    id: /^[0-9a-f]{64}$/,
    timeless: true,
  })
  t.strictSame(check('github', githubHeaders('push', 'x'.repeat(20), body)), { refused: 'wrong' })
  t.strictSame(check('github', githubHeaders('push', SECRET, 'other')), { refused: 'wrong' })
  t.strictSame(check('github', { 'x-github-delivery': 'd' }), { refused: 'missing' })
  const sha1 = { 'x-github-delivery': 'd', 'x-hub-signature': `sha1=${hex(SECRET, body)}` }
  t.strictSame(check('github', sha1), { refused: 'missing' }, 'the old signature is none')

  t.match(check('harbor', { authorization: SECRET }), { id: /^[0-9a-f]{64}$/ })
  t.match(check('harbor', { authorization: `Bearer ${SECRET}` }), { id: /./ })
  t.strictSame(check('harbor', {}), { refused: 'missing' })
  t.strictSame(check('harbor', { authorization: 'Bearer x' }), { refused: 'wrong' })

  const hmac = createGenericSource({
    via: 'ci',
    secrets: [SECRET],
    how: how({ signature: 'hmac' }),
  })
  const given = { 'x-signature': `sha256=${hex(SECRET, body)}` }
  t.match(hmac.authenticate({ headers: given, body, now }), { id: /^[0-9a-f]{64}$/ })
  const named = { ...given, 'x-delivery-id': '7' }
  t.match(hmac.authenticate({ headers: named, body, now }), {
    id: /^[0-9a-f]{64}$/,
    timeless: true,
  })
  t.strictSame(hmac.authenticate({ headers: { 'x-signature': 'sha256=00' }, body, now }), {
    refused: 'wrong',
  })
  const token = createGenericSource({
    via: 'ci',
    secrets: [SECRET],
    how: how({ signature: 'token', header: 'X-My' }),
  })
  t.match(token.authenticate({ headers: { 'x-my': SECRET }, body, now }), { id: /./ })
  t.strictSame(token.authenticate({ headers: { 'x-token': SECRET }, body, now }), {
    refused: 'missing',
  })
})

/** A payload with something in it changed, anywhere. */
function mutate(payload: unknown, [at, value]: [number, unknown]): unknown {
  const copy = structuredClone(payload)
  const places: [Record<string, unknown>, string][] = []
  const visit = (node: unknown) => {
    if (typeof node !== 'object' || node === null) return
    for (const key of Object.keys(node)) {
      places.push([node as Record<string, unknown>, key])
      visit((node as Record<string, unknown>)[key])
    }
  }
  visit(copy)
  const [node, key] = places[at % places.length] as [Record<string, unknown>, string]
  if (value === undefined) delete node[key]
  else node[key] = value
  return copy
}

t.test('whatever is sent, a source throws no error but INPUT_INVALID', async (t) => {
  const events = ['push', 'pull_request', 'issue_comment', 'workflow_run', '__proto__', 'toString']
  const names = Object.keys(sources).flatMap((one) =>
    readdirSync(new URL(`../fixtures/${one}`, import.meta.url)).map(
      (file) => `${one}/${file.replace('.json', '')}`,
    ),
  )
  const payloads = new Map(names.map((name) => [name, fixture(name)]))
  const anything = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom(undefined, null, '', 0, [], {}, '\u0000'),
  )
  const tryRead = (name: string, event: string, payload: unknown) => {
    try {
      const reading = source(name).read({ 'x-github-event': event }, payload)
      return 'ignored' in reading || /^[\w./-]+$/.test(reading.project)
    } catch (error) {
      return isStepError(error, 'INPUT_INVALID')
    }
  }
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.constantFrom(...events),
      fc.array(fc.tuple(fc.nat(), anything), { minLength: 1, maxLength: 4 }),
      (name, event, changes) => {
        const changed = changes.reduce<unknown>(mutate, payloads.get(name))
        return tryRead(name.split('/')[0] ?? '', event, changed)
      },
    ),
    { numRuns: 3000 },
  )
  fc.assert(
    fc.property(
      fc.constantFrom(...Object.keys(sources)),
      fc.constantFrom(...events),
      fc.jsonValue(),
      tryRead,
    ),
    { numRuns: 2000 },
  )
  const headerNames = [
    'x-gitlab-token',
    'webhook-signature',
    'webhook-id',
    'webhook-timestamp',
    'x-hub-signature-256',
    'x-github-delivery',
    'authorization',
  ]
  const headers = fc.dictionary(
    fc.constantFrom(...headerNames),
    fc.oneof(fc.string(), fc.array(fc.string())),
  )
  fc.assert(
    fc.property(
      fc.constantFrom(...Object.keys(sources)),
      headers,
      fc.uint8Array(),
      (name, given, body) => {
        const delivery = { headers: given as never, body: Buffer.from(body), now }
        return 'refused' in source(name).authenticate(delivery)
      },
    ),
    { numRuns: 2000 },
  )
  t.pass('7,000 tries, each judged by fast-check')
})
