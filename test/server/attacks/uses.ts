import { setTimeout as sleep } from 'node:timers/promises'
import { createKey } from '../../../src/client/key.ts'
import { forgeProof, keyWith } from '../sessions/world.ts'
import type { Attack } from './logins.ts'
import type { Attacked, Job, Sent } from './world.ts'

const RUNS = '/runs'

const using = (change: (job: Job, world: Attacked) => Promise<Partial<Sent>>) => {
  return async (world: Attacked): Promise<Sent> => {
    const job = await world.job()
    return { path: RUNS, ...(await change(job, world)) }
  }
}
const bearer = (make: (world: Attacked) => Promise<string> | string, scheme = 'Bearer') => {
  return async (world: Attacked): Promise<Sent> => ({
    path: RUNS,
    headers: [['authorization', `${scheme} ${await make(world)}`]],
  })
}
/** A session, and a proof by its own key with something wrong in it. */
const proving = (parts: Parameters<typeof keyWith>[0]) => async (world: Attacked) => {
  const key = await keyWith({})
  const { body } = await world.start(key)
  const session = String(body.session)
  const { importJWK } = await import('jose')
  const { kty, crv, x, y } = key.jwk
  const dpop = await forgeProof({
    ...{ session, url: `${world.url}/api/v1${RUNS}` },
    ...{ by: (await importJWK(key.jwk, 'ES256')) as never, header: { jwk: { kty, crv, x, y } } },
    ...parts,
  })
  const headers: [string, string][] = [
    ['authorization', `DPoP ${session}`],
    ['dpop', dpop],
  ]
  return { path: RUNS, headers }
}

/** Requests with sessions and API tokens. */
export const uses: Record<string, Attack> = {
  'nobody at all': { reason: 'no-credentials', request: async () => ({ path: RUNS }) },
  'a session in a cookie': {
    reason: 'no-credentials',
    request: using(async ({ session }) => ({ headers: [['cookie', `session=${session}`]] })),
  },
  'a session in the query': {
    reason: 'no-credentials',
    request: using(async ({ session }) => ({ path: `${RUNS}?access_token=${session}` })),
  },
  'a session as a bearer token': {
    reason: 'session-as-bearer',
    request: using(async ({ session }) => ({ headers: [['authorization', `Bearer ${session}`]] })),
  },
  'a session without a proof': {
    reason: 'no-proof',
    request: using(async ({ session }) => ({ headers: [['authorization', `DPoP ${session}`]] })),
  },
  'a session with the proof of another key': {
    reason: 'proof-of-another-key',
    request: using(async ({ session }, { url }) => {
      const proven = { method: 'GET', url: `${url}/api/v1${RUNS}`, session, now: Date.now() }
      const dpop = await (await createKey()).prove(proven)
      return {
        headers: [
          ['authorization', `DPoP ${session}`],
          ['dpop', dpop],
        ],
      }
    }),
  },
  'a session with the proof of another session': {
    reason: 'proof-session',
    request: proving({ claims: { ath: 'x'.repeat(43) } }),
  },
  'a proof without the session': {
    reason: 'proof-session',
    request: proving({ claims: { ath: undefined } }),
  },
  'a proof for another path (htu)': {
    reason: 'proof-address',
    request: using(async (job) => ({ headers: await job.headersFor('GET', '/status') })),
  },
  'a proof for another method (htm)': {
    reason: 'proof-method',
    request: using(async (job) => ({ headers: await job.headersFor('POST', RUNS) })),
  },
  'the proof of a reading, to cancel': {
    reason: 'proof-method',
    request: using(async (job) => {
      const path = '/runs/0mij3k2a1b2c3d4e5f6a7/cancel'
      const headers = await job.headersFor('GET', path)
      return { method: 'POST', path, body: { reason: 'x' }, headers }
    }),
  },
  'the same request twice (jti)': {
    reason: 'proof-replayed',
    request: using(async (job, { send }) => {
      const headers = await job.headersFor('GET', RUNS)
      await send({ path: RUNS, headers })
      return { headers }
    }),
  },
  'an old proof of a session': {
    reason: 'proof-time',
    request: proving({ claims: { iat: Math.floor(Date.now() / 1000) - 600 } }),
  },
  'a proof for plain names of the server': {
    reason: 'proof-address',
    request: proving({ url: 'http://localhost/api/v1/runs' }),
  },
  'a session that was logged out of': {
    reason: 'session-unknown',
    request: using(async (job) => {
      await job.send({ method: 'DELETE', path: '/session' })
      return { headers: await job.headersFor('GET', RUNS) }
    }),
  },
  'a session that was revoked': {
    reason: 'session-unknown',
    async request(world) {
      const job = await world.job({ job_id: '998' })
      await world.revoke('job 998 of team/webapi')
      return { path: RUNS, headers: await job.headersFor('GET', RUNS) }
    },
  },
  'a session that somebody guessed': {
    reason: 'session-unknown',
    request: bearer(() => `ccs_${'A'.repeat(43)}`, 'DPoP'),
  },
  'two credentials': {
    reason: 'duplicate-header',
    request: using(async (job) => {
      const headers = await job.headersFor('GET', RUNS)
      return { headers: [...headers, ['authorization', `DPoP ccs_${'A'.repeat(43)}`]] }
    }),
  },
  'an ID token in place of a session': {
    reason: 'credentials',
    request: bearer((world) => world.token()),
  },
  'an API token that somebody guessed': {
    reason: 'api-token-unknown',
    request: bearer(() => `cct_${'a'.repeat(43)}`),
  },
  'an API token as a session': {
    reason: 'api-token-key',
    request: bearer((world) => world.apiToken('as-a-session'), 'DPoP'),
  },
  'an API token with a password': {
    reason: 'credentials',
    request: bearer(() => Buffer.from('admin:admin').toString('base64'), 'Basic'),
  },
  'a revoked API token': {
    reason: 'api-token-revoked',
    request: bearer(async ({ apiToken, ledger }) => {
      const secret = await apiToken('revoked')
      await ledger.revokeToken('revoked', { subject: 'ops', via: 'cli' })
      return secret
    }),
  },
  'an expired API token': {
    reason: 'api-token-expired',
    request: bearer(async ({ apiToken }) => {
      const secret = await apiToken('expired', ['view'], 500)
      await sleep(700)
      return secret
    }),
  },
}
