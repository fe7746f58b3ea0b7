import t from 'tap'
import { createHttpClient } from '../../../src/core/http/client.ts'
import { commentOnGithub, setGithubStatus } from '../../../src/server/feedback/github.ts'
import { GITHUB_TOKEN, startGithub } from '../../support/platforms/github.ts'

const signal = AbortSignal.timeout(20_000)
const http = createHttpClient()
const commit = 'b'.repeat(40)

t.test('a status is set with a short description', async (t) => {
  const github = await startGithub(t)
  const access = { http, url: github.url, token: GITHUB_TOKEN }
  const status = { project: 'acme/webapi', commit, name: 'crosscloud/deploy', url: '' } as const
  await setGithubStatus(access, { ...status, state: 'pending', text: 'on its way' }, signal)
  t.strictSame(github.statuses[0], {
    sha: commit,
    body: { state: 'pending', context: 'crosscloud/deploy', description: 'on its way' },
  })
  const url = 'https://ci.example.com/1'
  const text = '🚀'.repeat(200)
  await t.rejects(
    setGithubStatus(access, { ...status, url, state: 'failure', text: 'x' }, AbortSignal.abort()),
    {
      code: 'CANCELLED',
    },
  )
  await setGithubStatus(access, { ...status, url, state: 'success', text: 'y'.repeat(200) }, signal)
  t.equal(github.statuses[1]?.body.target_url, url)
  t.equal(github.statuses[1]?.body.description, `${'y'.repeat(139)}…`)
  await setGithubStatus(access, { ...status, state: 'failure', text }, signal)
  t.notMatch(github.statuses[2]?.body.description, '\uFFFD', 'no character is cut in half')
  t.match(github.statuses[2]?.body.description, /^(?:🚀){69}…$/u)

  await t.rejects(
    setGithubStatus(access, { ...status, commit: '..', state: 'success', text: '' }, signal),
    { code: 'INPUT_INVALID' },
  )
  github.next.push(502)
  await t.rejects(setGithubStatus(access, { ...status, state: 'success', text: '' }, signal), {
    code: 'UNAVAILABLE',
  })
  const stranger = { http, url: github.url, token: 'wrong' }
  await t.rejects(setGithubStatus(stranger, { ...status, state: 'success', text: '' }, signal), {
    code: 'UNAUTHORIZED',
  })
})

t.test('a comment is written once, and updated', async (t) => {
  const github = await startGithub(t)
  const access = { http, url: github.url, token: GITHUB_TOKEN }
  for (let id = 1; id <= 150; id++) github.comments.push({ id, issue: 7, body: `comment ${id}` })
  const to = { project: 'acme/webapi', number: 7, marker: 'one' }
  await commentOnGithub(access, { ...to, text: 'first' }, signal)
  t.equal(github.comments.length, 151)
  t.equal(github.comments[150]?.body, '<!-- crosscloud:one -->\nfirst')

  await commentOnGithub(access, { ...to, text: 'second' }, signal)
  t.equal(github.comments.length, 151)
  t.equal(github.comments[150]?.body, '<!-- crosscloud:one -->\nsecond', 'updated on page two')
  const asked = github.requests.length
  await commentOnGithub(access, { ...to, text: 'second' }, signal)
  t.equal(github.requests.length, asked + 2, 'what stands there already is not written again')

  await commentOnGithub(access, { ...to, marker: 'two', text: 'other' }, signal)
  t.equal(github.comments.length, 152)
  github.comments.push({ id: 153, issue: 8, body: '> <!-- crosscloud:one -->\nquoted by somebody' })
  await commentOnGithub(access, { ...to, number: 8, text: 'there' }, signal)
  t.equal(github.comments.length, 154, 'a quote is not ours to change')
})

t.test('a comment whose answer was lost is not written twice', async (t) => {
  const github = await startGithub(t)
  const access = { http, url: github.url, token: GITHUB_TOKEN }
  const to = { project: 'acme/webapi', number: 3, marker: 'evt', text: 'table' }
  github.next.push('pass', 'cut')
  await t.rejects(commentOnGithub(access, to, signal), { code: 'UNAVAILABLE', retryable: true })
  t.equal(github.comments.length, 1, 'GitHub took it')
  await commentOnGithub(access, to, signal)
  t.equal(github.comments.length, 1)
})
