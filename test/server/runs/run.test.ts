import t from 'tap'
import type { RunSubject } from '../../../src/server/runs/run.ts'
import { whoOf } from '../../../src/server/runs/run.ts'

const identity = 'https://gitlab.example.com'
const project = 'team/webapi'
const job: RunSubject = {
  ...{ kind: 'job', name: 'job 4711 of team/webapi (li)', by: 'li', byId: '7', identity },
  ...{ names: [], claims: { project, ref: 'main' } },
  presented: { kind: 'job', login: 'li', id: '7', groups: ['team/ops'], identity, project },
}

t.test('gate and ledger are told of whom the session is of, and of nobody else', async (t) => {
  t.strictSame(whoOf(job), job.presented)
  const strange: object[] = [
    { identity: 'https://evil.example.com' },
    { project: 'team/evil' },
    { project: undefined },
    { login: 'zhang' },
    { kind: 'person' },
  ]
  for (const change of strange) {
    const presented = { ...job.presented, ...change } as NonNullable<RunSubject['presented']>
    t.throws(
      () => whoOf({ ...job, presented }),
      { code: 'UNAUTHORIZED', message: /is not whom its token names/ },
      JSON.stringify(change),
    )
  }
})

t.test('a job that names no person keeps what it is', async (t) => {
  const { presented: _presented, ...nameless } = job
  t.match(whoOf(nameless), { kind: 'job', project, job: undefined })
  const token: RunSubject = {
    ...{ kind: 'token', name: 'token jenkins', by: 'token:jenkins', identity: 'token' },
    names: ['token:jenkins'],
  }
  t.match(whoOf(token), { kind: 'token', login: 'token:jenkins', project: undefined })
})
