import t from 'tap'
import { StepError } from '../../../src/core/errors.ts'
import { silentLog } from '../../../src/core/log.ts'
import { compilePolicy } from '../../../src/policy/compile.ts'
import { decide } from '../../../src/policy/decide.ts'
import { policySettings } from '../../../src/policy/settings.ts'
import type { Subject } from '../../../src/policy/subject.ts'
import type { AuditEntry } from '../../../src/server/audit.ts'
import { createPermission, isRefusal } from '../../../src/server/runs/permission.ts'
import type { RunRecord } from '../../../src/server/runs/run.ts'
import type { ApiToken } from '../../../src/server/sessions/sessions.ts'
import type { Settings } from '../../../src/settings.ts'

const policy = compilePolicy(
  policySettings.parse({
    roles: { pipeline: ['view', 'deploy'] },
    grants: [{ who: 'token:jenkins', role: 'pipeline', apps: ['webapi'], envs: ['test'] }],
  }),
)
const subject: RunRecord['subject'] = {
  ...{ kind: 'token', name: 'token jenkins', by: 'token:jenkins', identity: 'token' },
  names: ['token:jenkins'],
}
const run: RunRecord = {
  ...{ id: '1', app: 'webapi', step: 'deploy', environment: 'test', inputs: { env: 'test' } },
  ...{ subject, credential: { kind: 'token', id: 'hash' }, queuedAt: 0 },
  ...{ startedAt: undefined, finishedAt: undefined, finished: undefined, cancel: undefined },
}
const settings = { environments: {} } as Pick<Settings, 'environments'>
const scope = { verbs: ['view', 'deploy'] as const, apps: ['webapi'], envs: ['test'] }

function world(token: ApiToken | undefined, record?: () => Promise<void>) {
  const audited: AuditEntry[] = []
  const permission = createPermission({
    decide: (who: Subject, question) => decide(policy, who, question),
    hasSession: async () => false,
    findToken: async (hash) => (hash === 'hash' ? token : undefined),
    record: async (entry) => (record ? record() : void audited.push(entry)),
    log: silentLog,
  })
  return { audited, permission }
}

t.test('an API token may what it may when the run begins', async (t) => {
  const living = { name: 'jenkins', scope }
  const { audited, permission } = world(living)
  await permission(run, settings)
  t.strictSame(audited, [], 'that it was allowed is recorded already')
  const past = new Date(Date.now() - 1000).toISOString()
  const refusals: [ApiToken | undefined, RegExp][] = [
    [undefined, /the API token is unknown/],
    [{ ...living, revokedAt: past }, /the API token was revoked/],
    [{ ...living, expiresAt: past }, /the API token has expired/],
    [{ ...living, scope: { ...scope, verbs: ['view'] } }, /the token's scope has no deploy/],
    [{ ...living, scope: { ...scope, envs: ['staging'] } }, /scope for deploy is on staging/],
  ]
  for (const [token, message] of refusals) {
    const { audited, permission } = world(token)
    const error = await permission(run, settings).catch((thrown: unknown) => thrown)
    t.match(error, { message })
    t.ok(error instanceof StepError && isRefusal(error))
    t.match(audited, [{ via: 'token', verb: 'deploy', decision: 'refused', run: '1' }])
  }
})

t.test('a refusal that cannot be recorded is one all the same', async (t) => {
  const { permission } = world(undefined, async () => {
    throw new StepError('UNAVAILABLE', 'the ledger is away')
  })
  await t.rejects(permission(run, settings), { code: 'UNAUTHORIZED', message: /unknown/ })
})
