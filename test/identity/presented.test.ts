import t from 'tap'
import { acceptPresented, type PresentedWho } from '../../src/identity/presented.ts'
import { identitySettings } from '../../src/identity/settings.ts'

const settings = identitySettings.parse({
  ...{ issuer: 'https://gitlab.example.com', audience: 'crosscloud', project: 'team/webapi' },
  pipelines: ['schedule'],
})
const person = {
  login: 'li',
  id: '7',
  groups: ['team/ops'],
  identity: 'https://gitlab.example.com',
}
const job = { id: '4711', refProtected: true, environment: 'test', startedBy: 'web', attempt: 1 }
const accept = (who: PresentedWho, how: object = {}) =>
  acceptPresented(who, settings, { environment: 'test', required: true, strict: true, ...how })

t.test('a person whom the server has authenticated is who they are', async (t) => {
  t.strictSame(accept(person), person)
  t.match(accept({ ...person, job }), { login: 'li', job: { id: '4711' } })
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
    const who = { ...person, job: { ...job, ...change } }
    t.throws(() => accept(who), { code: 'UNAUTHORIZED', message }, String(message))
    t.doesNotThrow(() => accept(who, { required: false, strict: false }), 'nothing is decided')
  }
  t.doesNotThrow(() => accept({ ...person, job: { ...job, startedBy: 'schedule' } }))
  const loose = { ...person, job: { ...job, startedBy: 'trigger', environment: undefined } }
  t.doesNotThrow(() => accept(loose, { strict: false }))
})
