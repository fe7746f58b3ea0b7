import t from 'tap'
import type { z } from 'zod'
import { createHttpClient } from '../../../src/core/http/client.ts'
import type { Attempt } from '../../../src/server/effects/effect.ts'
import { createWorkflowEffect, workflowSettings } from '../../../src/server/effects/workflow.ts'
import { GITHUB_TOKEN, startGithub } from '../../support/platforms/github.ts'

const ID = '9b2f-11-deploy'
const MARK = 'crosscloud_event_id'

function attemptOf(change: Partial<Attempt['facts']> = {}, more: Partial<Attempt> = {}): Attempt {
  return {
    id: ID,
    again: false,
    begunAt: Date.now(),
    confirm: async () => {},
    receivedAt: Date.now(),
    signal: AbortSignal.timeout(20_000),
    facts: {
      source: 'github',
      via: 'github',
      kind: 'push',
      project: 'acme/webapi',
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

const render = (template: string, facts: Record<string, string>) =>
  template.replace(/\{\{(\w+)\}\}/g, (_, name: string) => facts[name] ?? '')

const workflows = {
  'deploy.yml': { inputs: ['version', 'title', MARK], runName: 'Deploy (%)' },
  'bare.yml': { inputs: ['version'] },
}

async function setUp(
  test: Pick<typeof t, 'teardown'>,
  settings: z.input<typeof workflowSettings>,
  token = GITHUB_TOKEN,
) {
  const github = await startGithub(test, { workflows, refs: ['main', 'refs/tags/v1', 'feat/a&b'] })
  const parsed = workflowSettings.parse(settings)
  const access = { http: createHttpClient(), url: `${github.url}/`, token }
  return { github, effect: createWorkflowEffect(parsed, access, render, { pause: 20 }) }
}

t.test('a workflow is dispatched, and the outcome links to its run', async (t) => {
  const { github, effect } = await setUp(t, {
    workflow: 'deploy.yml',
    inputs: { version: '{{commit}}', title: '{{title}}' },
  })
  const nasty = '$(reboot) `id` ../../x; rm -rf / "quoted" {"a":1}'
  const outcome = await effect(attemptOf({ title: nasty }))
  t.strictSame(outcome, {
    text: 'run 1000 of deploy.yml of acme/webapi was started',
    url: 'https://github.example.com/acme/webapi/actions/runs/1000',
    state: 'started',
  })
  t.strictSame(github.runs[0]?.inputs, { version: 'a'.repeat(40), title: nasty, [MARK]: ID })
  t.equal(github.headers[0]?.['x-github-api-version'], '2022-11-28')
  t.equal(github.headers[0]?.accept, 'application/vnd.github+json')
  await effect(attemptOf({ kind: 'tag', ref: 'v1' }))
  t.equal(github.runs[1]?.ref, 'refs/tags/v1', 'a tag is named in full')
  await effect(attemptOf({ ref: 'feat/a&b' }))
  t.equal(github.runs[2]?.ref, 'feat/a&b')
})

t.test('a server that does not return the run is no error', async (t) => {
  const { github, effect } = await setUp(t, { workflow: 'deploy.yml' })
  github.details = 'unknown'
  t.strictSame(await effect(attemptOf()), {
    text: 'deploy.yml of acme/webapi was dispatched',
    url: undefined,
    state: 'started',
  })
  github.details = 'refused'
  await effect(attemptOf())
  t.equal(github.runs.length, 2)
  t.equal(github.requests.length, 3, 'asked a second time without the word')
})

t.test('a run that an earlier attempt started is found, and none is started', async (t) => {
  const { github, effect } = await setUp(t, { workflow: 'deploy.yml' })
  github.next.push('cut')
  await t.rejects(effect(attemptOf()), { code: 'UNAVAILABLE', retryable: true })
  t.equal(github.runs.length, 1, 'GitHub took it')
  const again = await effect(attemptOf({}, { again: true }))
  t.equal(again.url, github.runs[0]?.html_url)
  t.equal(github.runs.length, 1, 'and none is started again')

  github.lag = 1
  await effect(attemptOf({}, { again: true }))
  t.equal(github.runs.length, 1, 'also when it gets into the list late')

  await effect(attemptOf({}, { id: '9b2f-11-deploy-2' }))
  await effect(attemptOf({}, { id: '11-deploy', again: true }))
  t.equal(github.runs.length, 3, 'an id that is a part of another one is not that one')

  github.pageSize = 1
  await effect(attemptOf({}, { again: true }))
  t.equal(github.runs.length, 3, 'found on a later page')
  await effect(attemptOf({}, { again: true, id: 'new', begunAt: Date.now() }))
  t.equal(github.runs.length, 4, 'what was not started is')
  for (const one of github.runs) one.created_at = new Date(Date.now() - 3_600_000).toISOString()
  await effect(attemptOf({}, { again: true }))
  t.equal(github.runs.length, 5, 'older runs are not looked at')

  github.next.push(503)
  await t.rejects(effect(attemptOf({}, { again: true })), { code: 'UNAVAILABLE' })
  t.equal(github.runs.length, 5, 'nothing is started where looking fails')
})

t.test('without the mark the workflow gets no input that it does not declare', async (t) => {
  const marked = await setUp(t, { workflow: 'bare.yml' })
  await t.rejects(marked.effect(attemptOf()), {
    code: 'INPUT_INVALID',
    message: /422: Unexpected inputs provided: \["crosscloud_event_id"\]/,
    hint: /mark: false/,
  })
  t.equal(marked.github.runs.length, 0)
  const bare = await setUp(t, { workflow: 'bare.yml', mark: false, inputs: { version: '1' } })
  await bare.effect(attemptOf())
  t.strictSame(bare.github.runs[0]?.inputs, { version: '1' })
})

t.test('each refusal of GitHub names what to change', async (t) => {
  const { github, effect } = await setUp(t, { workflow: 'deploy.yml' })
  await t.rejects(effect(attemptOf({ ref: 'gone' })), {
    code: 'INPUT_INVALID',
    message: /No ref found for: gone/,
  })
  await t.rejects(effect(attemptOf({ ref: '', kind: 'artifact' })), {
    code: 'INPUT_INVALID',
    hint: /workflow\.ref/,
  })
  await t.rejects(effect(attemptOf({ project: 'acme/other' })), { code: 'NOT_FOUND' })
  await t.rejects(effect(attemptOf({ project: 'acme/renamed' })), {
    code: 'NOT_FOUND',
    message: /has moved/,
  })
  github.next.push(500)
  await t.rejects(effect(attemptOf()), { code: 'UNAVAILABLE' })
  github.next.push('limited')
  await t.rejects(effect(attemptOf()), { code: 'UNAVAILABLE', message: /403/ })
  github.next.push(403)
  await t.rejects(effect(attemptOf()), { code: 'FORBIDDEN' })
  const asked = github.requests.length
  for (const project of ['acme/..', '../acme', 'acme', 'group/sub/webapi', './webapi']) {
    await t.rejects(effect(attemptOf({ project })), { code: 'INPUT_INVALID' }, project)
  }
  t.equal(github.requests.length, asked, 'no request is sent to a path of an event')
  await t.rejects(effect(attemptOf({ project: 'acme/web?x=#$(id)%2e' })), { code: 'NOT_FOUND' })
  t.match(github.requests.at(-1), '/repos/acme/web%3Fx%3D%23%24(id)%252e/actions/')
  t.equal(github.runs.length, 0)

  const stranger = await setUp(t, { workflow: 'deploy.yml' }, 'wrong-token')
  const error = await stranger.effect(attemptOf()).catch((thrown: Error) => thrown)
  t.match(error, { code: 'UNAUTHORIZED', message: /Bad credentials/ })
  t.notMatch(JSON.stringify(error) + String(error), 'wrong-token')
  const over = AbortSignal.abort()
  await t.rejects(effect(attemptOf({}, { signal: over })), { code: 'CANCELLED' })
})

t.test('a workflow is a file name or an id, and inputs have names', async (t) => {
  const good = (value: unknown) => workflowSettings.safeParse(value).success
  t.ok(good({ workflow: 161335 }))
  t.ok(good({ workflow: 'ci.yml', repository: 'acme/webapi' }))
  for (const bad of [
    { workflow: '../ci.yml' },
    { workflow: '..' },
    { workflow: 'a/b.yml' },
    { workflow: 'ci.yml', repository: 'acme' },
    { workflow: 'ci.yml', inputs: { 'a b': 'x' } },
    { workflow: 'ci.yml', reff: 'main' },
    { workflow: 'ci.yml', inputs: { a: '{{nothing}}' } },
    {},
  ]) {
    t.notOk(good(bad), JSON.stringify(bad))
  }
})
