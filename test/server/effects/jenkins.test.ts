import t from 'tap'
import type { z } from 'zod'
import { createHttpClient } from '../../../src/core/http/client.ts'
import type { Attempt } from '../../../src/server/effects/effect.ts'
import { createJenkinsEffect, jenkinsJobSettings } from '../../../src/server/effects/jenkins.ts'
import { JENKINS_TOKEN, JENKINS_USER, startJenkins } from '../../support/platforms/jenkins.ts'

const ID = '77aa-build'
const MARK = 'CROSSCLOUD_EVENT_ID'
const ROOT = 'https://ci.example.com/ci'

function attemptOf(change: Partial<Attempt['facts']> = {}, more: Partial<Attempt> = {}): Attempt {
  return {
    id: ID,
    again: false,
    begunAt: Date.now(),
    confirm: async () => {},
    receivedAt: Date.now(),
    signal: AbortSignal.timeout(20_000),
    facts: {
      source: 'gitlab',
      via: 'gitlab',
      kind: 'push',
      project: 'team/webapi',
      ref: 'main',
      commit: 'a'.repeat(40),
      by: 'ann',
      title: 'A change',
      url: '',
      ...change,
    },
    ...more,
  }
}
const again = (more: Partial<Attempt> = {}) => attemptOf({}, { again: true, ...more })

const render = (template: string, facts: Record<string, string>) =>
  template.replace(/\{\{(\w+)\}\}/g, (_, name: string) => facts[name] ?? '')

const jobs = {
  'team/webapi': { parameters: ['VERSION', 'TITLE', MARK, 'CROSSCLOUD_EVENT_REF'] },
  'other/webapi': { parameters: [MARK] },
  webapi: { parameters: [MARK] },
  'team/shop app/feature%2Fx': { parameters: [MARK] },
  plain: {},
  unmarked: { parameters: ['VERSION'] },
  off: { parameters: [MARK], disabled: true },
  team: { folder: true },
}

async function setUp(
  test: Pick<typeof t, 'teardown'>,
  settings: z.input<typeof jenkinsJobSettings>,
  token = JENKINS_TOKEN,
) {
  const jenkins = await startJenkins(test, jobs)
  const effect = (more: Partial<z.input<typeof jenkinsJobSettings>> = {}) =>
    createJenkinsEffect(
      jenkinsJobSettings.parse({ ...settings, ...more }),
      { http: createHttpClient(), url: `${jenkins.url}/`, user: JENKINS_USER, token },
      render,
      { queueTimeout: 300 },
    )
  return { jenkins, run: effect(), effect }
}

t.test('a job is started with a crumb of the same session', async (t) => {
  const { jenkins, run, effect } = await setUp(t, {
    job: 'team/webapi',
    parameters: { VERSION: '{{commit}}', TITLE: '{{title}}' },
  })
  const nasty = '$(reboot) `id` ../../x; rm -rf / &TITLE=other&token=x \'q\' "d" %0a'
  t.strictSame(await run(attemptOf({ title: nasty, ref: '../../$(id)' })), {
    text: 'job team/webapi was started',
    url: `${ROOT}/job/team/job/webapi/1/`,
    state: 'started',
  })
  t.strictSame(jenkins.items[0]?.parameters, {
    VERSION: 'a'.repeat(40),
    TITLE: nasty,
    [MARK]: ID,
    CROSSCLOUD_EVENT_REF: '../../$(id)',
  })
  t.notOk(jenkins.requests.some((line) => /reboot|%2e%2e|\.\./i.test(line)))

  jenkins.crumbs = false
  await run(attemptOf())
  t.equal(jenkins.items.length, 2, 'also where crumbs are off')

  await effect({ job: 'team/shop app/feature%2Fx', parameters: {} })(attemptOf())
  t.equal(jenkins.items[2]?.job, 'team/shop app/feature%2Fx')
  t.ok(jenkins.requests.some((line) => line.includes('/job/shop%20app/job/feature%252Fx/')))
})

t.test('the outcome links to the page of the build', async (t) => {
  const { jenkins, run } = await setUp(t, { job: 'webapi' })
  jenkins.executors = false
  const started = Date.now()
  t.equal((await run(attemptOf())).url, `${jenkins.url}/queue/item/40/`, 'still in the queue')
  t.ok(Date.now() - started < 2000)
  jenkins.origin = 'https://evil.example.com'
  t.equal(
    (await run(attemptOf())).url,
    `${jenkins.url}/queue/item/41/`,
    'of Location, only the item',
  )
  jenkins.origin = undefined
  // Job, crumb and start; then the queue's item fails.
  jenkins.next.push('pass', 'pass', 'pass', 500)
  t.equal(
    (await run(attemptOf())).url,
    `${jenkins.url}/queue/item/42/`,
    'it was started all the same',
  )
  t.equal(jenkins.items.length, 3)
})

t.test('a build that an earlier attempt started is found, and none is started', async (t) => {
  const { jenkins, run, effect } = await setUp(t, { job: 'webapi' })
  const lost = ['pass', 'pass', 'cut'] as const
  jenkins.next.push(...lost)
  await t.rejects(run(attemptOf()), { code: 'UNAVAILABLE', retryable: true })
  t.equal(jenkins.items.length, 1, 'Jenkins took it')
  t.equal((await run(again())).url, `${ROOT}/job/webapi/1/`, 'as a build')
  jenkins.executors = false
  jenkins.next.push(...lost)
  const id = 'second'
  await t.rejects(run(attemptOf({}, { id })), { code: 'UNAVAILABLE' })
  t.equal((await run(again({ id }))).url, `${jenkins.url}/queue/item/41/`, 'in the queue')
  t.equal(jenkins.items.length, 2, 'and none is started again')

  await effect({ job: 'other/webapi' })(again({ id }))
  t.equal(jenkins.items.length, 3, "another job's item in the queue is not this one's")
  await run(again({ id: 'secon' }))
  t.equal(jenkins.items.length, 4, 'nor is that of another event')

  jenkins.executors = true
  for (let more = 0; more < 120; more++) {
    const parameters = { [MARK]: `more-${more}` }
    jenkins.items.push({ id: 500 + more, job: 'webapi', parameters, timestamp: Date.now() })
  }
  jenkins.build()
  t.equal((await run(again())).url, `${ROOT}/job/webapi/1/`, 'behind a hundred newer builds')
  t.equal(jenkins.items.length, 124)

  jenkins.next.push('pass', 503)
  await t.rejects(run(again({ id: 'third' })), { code: 'UNAVAILABLE' })
  t.equal(jenkins.items.length, 124, 'nothing is started where looking fails')
})

t.test('a job without parameters or without the mark is started all the same', async (t) => {
  const { jenkins, run, effect } = await setUp(t, { job: 'plain' })
  t.equal((await run(attemptOf())).url, `${ROOT}/job/plain/1/`)
  t.notOk(jenkins.requests.some((line) => line.includes('buildWithParameters')))
  await t.rejects(effect({ parameters: { VERSION: '1' } })(attemptOf()), {
    code: 'INPUT_INVALID',
    message: /plain: it is not parameterized/,
  })
  await t.rejects(effect({ job: 'webapi', parameters: { VERSION: '1' } })(attemptOf()), {
    code: 'INPUT_INVALID',
    message: /has no parameter VERSION/,
  })
  t.equal(jenkins.items.length, 1)
  await effect({ job: 'unmarked', parameters: { VERSION: '1' } })(again())
  t.strictSame(jenkins.items[1]?.parameters, { VERSION: '1' })
})

t.test('each refusal of Jenkins names what to change', async (t) => {
  const { jenkins, run, effect } = await setUp(t, { job: 'webapi' })
  await t.rejects(effect({ job: 'off' })(attemptOf()), { code: 'CONFLICT', message: /disabled/ })
  await t.rejects(effect({ job: 'team' })(attemptOf()), {
    code: 'INPUT_INVALID',
    message: /folder/,
  })
  await t.rejects(effect({ job: 'none' })(attemptOf()), { code: 'NOT_FOUND' })
  jenkins.next.push('login')
  await t.rejects(run(attemptOf()), { code: 'UNAUTHORIZED', message: /log in/ })
  jenkins.next.push('pass', 'pass', 'login')
  await t.rejects(run(attemptOf()), { code: 'UNAUTHORIZED', message: /log in/ })
  jenkins.next.push('https')
  await t.rejects(run(attemptOf()), { code: 'INPUT_INVALID', hint: /jenkins\.url/ })
  jenkins.vetoed = true
  await t.rejects(run(attemptOf()), { code: 'CONFLICT', message: /into its queue/ })
  jenkins.vetoed = false
  jenkins.next.push('pass', 'pass', 403)
  await t.rejects(run(attemptOf()), { code: 'FORBIDDEN' })
  // The crumb's answer is taken for "off", yet Jenkins wants one.
  jenkins.next.push('pass', 404)
  await t.rejects(run(attemptOf()), {
    code: 'FORBIDDEN',
    message: /No valid crumb was included/,
  })
  for (const step of [[503], ['pass', 502], ['pass', 'pass', 500]] as const) {
    jenkins.next.push(...step)
    await t.rejects(run(attemptOf()), { code: 'UNAVAILABLE', retryable: true })
  }
  t.equal(jenkins.items.length, 0)
  await t.rejects(run(attemptOf({}, { signal: AbortSignal.abort() })), { code: 'CANCELLED' })

  const stranger = await setUp(t, { job: 'webapi' }, 'wrong-token')
  const error = await stranger.run(attemptOf()).catch((thrown: Error) => thrown)
  t.match(error, { code: 'UNAUTHORIZED', message: /401/ })
  t.notMatch(JSON.stringify(error) + String(error), 'wrong-token')
})

t.test('a job is a path of names, and parameters have names of variables', async (t) => {
  const good = (value: unknown) => jenkinsJobSettings.safeParse(value).success
  for (const job of ['webapi', 'a/b/c', 'my job', '.hidden', 'x/feature%2Fy'])
    t.ok(good({ job }), job)
  for (const job of ['', '/', '/a', 'a/', 'a//b', '..', 'a/..', '../a', 'a/./b', 'a?b', 'a\nb']) {
    t.notOk(good({ job }), job)
  }
  t.notOk(good({ job: 'a', parameters: { 'a b': 'x' } }))
  t.notOk(good({ job: 'a', parameters: { A: '{{nothing}}' } }))
  t.notOk(good({ job: 'a', tokn: 'x' }))
})
