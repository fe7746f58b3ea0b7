import t from 'tap'
import { acceptPresented, type PresentedWho } from '../../src/identity/presented.ts'
import { identitySettings } from '../../src/identity/settings.ts'

const settings = identitySettings.parse({
  ...{ issuer: 'https://gitlab.example.com', audience: 'crosscloud', project: 'team/webapi' },
  pipelines: ['schedule'],
})
const person = {
  kind: 'person' as const,
  login: 'li',
  id: '7',
  groups: ['team/ops'],
  identity: 'https://gitlab.example.com',
}
const { kind: _kind, ...who } = person
const ofJob = { ...person, kind: 'job' as const, project: 'team/webapi' }
const job = { id: '4711', refProtected: true, environment: 'test', startedBy: 'web', attempt: 1 }
const accept = (who: PresentedWho, how: object = {}) =>
  acceptPresented(who, settings, { environment: 'test', required: true, strict: true, ...how })

t.test('a person whom the server has authenticated is who they are', async (t) => {
  t.strictSame(accept(person), who)
  t.match(accept({ ...ofJob, job }), { login: 'li', job: { id: '4711' } })
})

t.test('a job needs what its own token would need', async (t) => {
  const refused: [object, RegExp][] = [
    [{ refProtected: false }, /its branch is not protected/],
    [{ environment: 'production' }, /of the environment production, not of test/],
    [{ environment: undefined }, /names no environment/],
    [{ startedBy: 'trigger' }, /no person started/],
    [{ startedBy: undefined }, /no person started/],
    [{ attempt: 2 }, /was run again/],
  ]
  for (const [change, message] of refused) {
    const who = { ...ofJob, job: { ...job, ...change } }
    t.throws(() => accept(who), { code: 'UNAUTHORIZED', message }, String(message))
    t.doesNotThrow(() => accept(who, { required: false, strict: false }), 'nothing is decided')
  }
  t.doesNotThrow(() => accept({ ...ofJob, job: { ...job, startedBy: 'schedule' } }))
  const loose = { ...ofJob, job: { ...job, startedBy: 'trigger', environment: undefined } }
  t.doesNotThrow(() => accept(loose, { strict: false }))
})

t.test('a token of another issuer or project says nothing here', async (t) => {
  const refused: [object, RegExp][] = [
    [{ identity: 'https://other.example.com' }, /from https:\/\/other\.example\.com, not from/],
    [{ project: 'team/evil' }, /it is of team\/evil, not of team\/webapi/],
    [{ project: 'team/webapi-evil' }, /it is of team\/webapi-evil/],
  ]
  for (const [change, message] of refused) {
    const who = { ...ofJob, job, ...change }
    t.throws(() => accept(who), { code: 'UNAUTHORIZED', message })
    t.throws(() => accept(who, { strict: false }), { code: 'UNAUTHORIZED', message })
    t.doesNotThrow(() => accept(who, { required: false, strict: false }), 'nothing is decided')
  }
})

t.test('who acts in their own name is a person, or a job that says which it is', async (t) => {
  const nameless = /names no job/
  t.throws(() => accept(ofJob), { code: 'UNAUTHORIZED', message: nameless }, 'no job_id')
  t.throws(() => accept(ofJob, { strict: false }), { message: nameless }, 'its branch is not known')
  t.doesNotThrow(() => accept(ofJob, { required: false, strict: false }))
  const { project: _project, ...jenkins } = { ...ofJob, login: 'https://jenkins/job/deploy/' }
  t.throws(() => accept(jenkins), { code: 'UNAUTHORIZED', message: nameless }, 'of no project')
  t.doesNotThrow(() => accept(jenkins, { strict: false }), 'the server names its subject')
  const token = { ...person, kind: 'token' as const, login: 'token:jenkins', identity: 'token' }
  t.throws(() => accept(token), { code: 'UNAUTHORIZED', message: /an API token is no person/ })
  t.doesNotThrow(() => accept(token, { strict: false }))
})
