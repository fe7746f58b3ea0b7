import t from 'tap'
import { isListed, mayBeSamePerson } from '../../../src/gate/people.ts'
import { compilePolicy } from '../../../src/policy/compile.ts'
import { decide } from '../../../src/policy/decide.ts'
import { namingOf, subjectOf } from '../../../src/server/logins/person.ts'
import { loginSettings } from '../../../src/server/logins/settings.ts'
import { jobOf } from '../../../src/server/sessions/subject.ts'
import { githubClaims, gitlabClaims } from '../../identity/issuer.ts'

const GITLAB = 'https://gitlab.example.com'
const issuer = (url: string) => ({ issuer: url, 'client-id': 'a', 'client-secret': 'b' })
const one = loginSettings.parse({ issuers: { gitlab: issuer(GITLAB) } })
const two = loginSettings.parse({
  issuers: { gitlab: issuer(GITLAB), github: issuer('https://github.com') },
})
const li = { id: '1', login: 'ops-li', groups: ['team/ops', 'team'] }

t.test('somebody is the same by browser as by the token of a job', async (t) => {
  for (const settings of [one, two]) {
    const { subject, person } = subjectOf(li, namingOf('gitlab', settings, [GITLAB]))
    const job = jobOf(gitlabClaims(GITLAB), [])
    for (const name of ['login', 'id', 'groups', 'identity'] as const) {
      t.strictSame(person?.[name], job.person?.[name], name)
    }
    t.match(subject, { by: job.subject.by, byId: job.subject.byId, identity: job.subject.identity })
  }
  const hubIssuer = 'https://token.actions.githubusercontent.com'
  const octocat = { id: '12', login: 'octocat', groups: [] }
  const hub = subjectOf(octocat, namingOf('github', two, [hubIssuer]))
  const run = jobOf(githubClaims(hubIssuer), [])
  t.match(hub.person, { login: run.person?.login, id: run.person?.id })
})

t.test('the same login at another issuer is somebody else', async (t) => {
  const there = subjectOf(li, namingOf('gitlab', two, [GITLAB]))
  const elsewhere = subjectOf({ ...li, id: '99' }, namingOf('github', two, [GITLAB]))
  t.strictSame(there.subject.names, [
    'user:ops-li@gitlab',
    'group:team/ops@gitlab',
    'group:team@gitlab',
  ])
  t.strictSame(elsewhere.subject.names[0], 'user:ops-li@github')
  const policy = compilePolicy({
    roles: { viewer: ['view'] },
    grants: [{ who: 'user:ops-li@gitlab', role: 'viewer', apps: ['webapi'], envs: ['test'] }],
    tests: [],
  })
  const question = { verb: 'view', app: 'webapi', environment: 'test' } as const
  t.equal(decide(policy, there.subject, question).allowed, true)
  t.equal(decide(policy, elsewhere.subject, question).allowed, false)
  const at = ({ person }: typeof there) => ({ login: person?.login ?? '', id: person?.id })
  const approvers = ['ops-li', 'group:team/ops']
  t.equal(isListed(approvers, at(there), there.person?.groups ?? []), true)
  t.equal(isListed(approvers, at(elsewhere), elsewhere.person?.groups ?? []), false)
  t.equal(
    mayBeSamePerson(at(elsewhere), { login: 'ops-li', id: '1' }),
    true,
    'four eyes stay on the safe side: ids of another issuer prove no difference',
  )
})

t.test('names that a grant could not write are none', async (t) => {
  const naming = namingOf('gitlab', one, [])
  for (const login of ['', 'a b', 'a:b', 'a#1', '*', 'a\u0000', 'x'.repeat(300)]) {
    t.throws(() => subjectOf({ ...li, login }, naming), { code: 'UNAUTHORIZED' }, login.slice(0, 9))
  }
  const { subject } = subjectOf({ ...li, groups: ['team/ops', 'a b', '*', 'x#1'] }, naming)
  t.strictSame(subject.names, ['user:ops-li', 'group:team/ops'])
  t.equal(subjectOf(li, naming).person?.id, undefined, 'jobs of no issuer have these ids')
})
