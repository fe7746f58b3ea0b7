import t from 'tap'
import { createGithubSource } from '../../../src/server/sources/github.ts'
import { createGitlabSource } from '../../../src/server/sources/gitlab.ts'
import { createHarborSource } from '../../../src/server/sources/harbor.ts'
import type { Source } from '../../../src/server/sources/source.ts'
import { fixture } from '../../support/data/signatures.ts'

const secrets = ['a-secret-of-the-test-1']
const sources: Record<string, Source> = {
  gitlab: createGitlabSource({ secrets }),
  github: createGithubSource({ secrets }),
  harbor: createHarborSource({ secrets }),
}
const source = (name: string) => sources[name] as Source

t.test('events that bring nothing to build, and unfinished pipelines, are ignored', async (t) => {
  const of = (name: string, part: string, change: object, event = '') => {
    const payload = structuredClone(fixture(name)) as Record<string, object>
    Object.assign(part === '' ? payload : (payload[part] ?? {}), change)
    return source(name.split('/')[0] ?? '').read({ 'x-github-event': event }, payload)
  }
  const merge = (change: object) => of('gitlab/merge_request', 'object_attributes', change)
  const pull = (action: string) => of('github/pull_request', '', { action }, 'pull_request')
  const opened = { kind: 'merge-request', request: { number: 16 } }
  t.match(merge({ action: 'open', oldrev: undefined }), opened)
  t.match(merge({ action: 'reopen', oldrev: undefined }), opened)
  t.match(merge({ action: 'update', oldrev: undefined }), { ignored: /get commits/ }, 'a label')
  for (const action of ['close', 'merge', 'approved', undefined]) {
    t.match(merge({ action, oldrev: undefined }), { ignored: /opened/ }, String(action))
  }
  for (const action of ['opened', 'reopened', 'synchronize']) t.match(pull(action), opened)
  for (const action of ['closed', 'labeled', 'edited', '__proto__']) {
    t.match(pull(action), { ignored: /opened/ }, action)
  }
  const pipeline = (status: string) => of('gitlab/pipeline', 'object_attributes', { status })
  for (const status of ['created', 'pending', 'running', 'manual', '__proto__']) {
    t.match(pipeline(status), { ignored: 'only pipelines that are over are used' }, status)
  }
  for (const status of ['failed', 'canceled', 'skipped']) {
    t.match(pipeline(status), { pipeline: { end: 'failed' } }, status)
  }
  const run = (conclusion: unknown) =>
    of('github/workflow_run', 'workflow_run', { conclusion }, 'workflow_run')
  t.match(run('neutral'), { pipeline: { end: 'succeeded' } })
  for (const conclusion of ['failure', 'timed_out', 'skipped', 'action_required', null]) {
    t.match(run(conclusion), { pipeline: { end: 'failed' } }, String(conclusion))
  }
})

t.test('a scan with an unknown result does not count as clean', async (t) => {
  const scanned = fixture('harbor/scanning_completed') as {
    event_data: { resources: Record<string, unknown>[] }
  }
  const of = (scan_overview: object) => {
    const payload = structuredClone(scanned)
    Object.assign(payload.event_data.resources[0] ?? {}, { scan_overview })
    return source('harbor').read({}, payload)
  }
  const low = { scan_status: 'Success', severity: 'Low' }
  const fresh = { scan_status: 'Success', severity: 'Dire' }
  t.match(of({ a: fresh, b: low }), { scan: { severity: 'Dire' } })
  t.match(of({ a: low, b: fresh }), { scan: { severity: 'Dire' } })
  t.match(of({ a: low, b: { scan_status: 'Success' } }), { scan: { severity: /^$/ } })
  t.match(of({}), { scan: { state: /^$/, severity: /^$/ } })
  const key = `k\u001b[2J${'z'.repeat(100_000)}`
  t.throws(() => of({ [key]: 5 }), { code: 'INPUT_INVALID', message: /^[ -~]{1,300}$/ })
})

type Payload = Record<string, object>

t.test('events that anybody may cause are ignored', async (t) => {
  const gitlab = (name: string, change: (payload: Payload) => void) => {
    const payload = structuredClone(fixture(name)) as Payload
    change(payload)
    const event = { 'x-github-event': name.split('/')[1] ?? '' }
    return source(name.split('/')[0] ?? '').read(event, payload)
  }
  const fork = { ignored: /forks are not used/ }
  const merge = gitlab('gitlab/merge_request', (one) => {
    Object.assign(one.object_attributes ?? {}, { source_project_id: 99 })
  })
  t.match(merge, fork)
  const pull = gitlab('github/pull_request', (one) => {
    const { head } = one.pull_request as { head: { repo: object } }
    Object.assign(head.repo, { full_name: 'stranger/webapi' })
  })
  t.match(pull, fork)
  const run = (change: object) =>
    gitlab('github/workflow_run', (one) => {
      Object.assign(one.workflow_run ?? {}, change)
    })
  const stranger = run({ event: 'pull_request', head_branch: null })
  t.match(stranger, { pipeline: { event: '' } }, 'their titles are not believed')
  t.match(
    gitlab('github/workflow_run', (one) => void Object.assign(one, { action: 'requested' })),
    {
      ignored: /only completed/,
    },
  )
  for (const path of ['../../etc', 'team/../x', './x', 'team/.', '/x', 'a b']) {
    const payload = { ...fixture('gitlab/push'), project: { path_with_namespace: path } }
    t.throws(() => source('gitlab').read({}, payload), { code: 'INPUT_INVALID' }, path)
  }
  const comment = (author_association: string) =>
    gitlab('github/issue_comment', (one) => {
      Object.assign(one.comment ?? {}, { author_association })
    })
  t.match(comment('NONE'), { ignored: 'only comments of members are used' })
  t.match(comment('COLLABORATOR'), { kind: 'comment' })
  for (const ref of ['x\u009b31m', 'x\u202ey']) {
    const payload = { ...fixture('gitlab/push'), ref: `refs/heads/${ref}` }
    t.throws(() => source('gitlab').read({}, payload), { code: 'INPUT_INVALID' })
  }
  const page = { ...fixture('gitlab/push'), commits: [], project: {} as object }
  page.project = { path_with_namespace: 'team/webapi', web_url: 'https://x/\u001b[2J' }
  t.match(source('gitlab').read({}, page), { url: /^$/ }, 'it would steer a terminal')
  const push = fixture('harbor/push_artifact') as { event_data: { resources: object[] } }
  const resources = [{ ...push.event_data.resources[0], resource_url: 'team/webapi:1' }]
  const withoutHost = { ...push, event_data: { ...push.event_data, resources } }
  t.match(source('harbor').read({}, withoutHost), { ignored: /no reference/ })
})
