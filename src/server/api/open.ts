import type { FastifyInstance } from 'fastify'
import type { Ledger } from '../../ledger/ledger.ts'
import { openLedger } from '../../ledger/open.ts'
import { compilePolicy } from '../../policy/compile.ts'
import { decide, mayViewAny } from '../../policy/decide.ts'
import { hasAgents, openAgents } from '../agents/agents.ts'
import { openApplications } from '../applications/applications.ts'
import { auditStart } from '../audit.ts'
import type { Closing, Dependencies, ServeOptions } from '../dependencies.ts'
import { workerEnvironmentOf } from '../effects/worker-environment.ts'
import { openLogins, withLogins } from '../logins/open.ts'
import { addLoginRoutes } from '../logins/routes.ts'
import { accessQueue } from '../queue/access.ts'
import { openPermission } from '../runs/open-permission.ts'
import { runUrls } from '../runs/route.ts'
import { openRuns } from '../runs/runs.ts'
import { openRunStore } from '../runs/store.ts'
import { useToken } from '../sessions/api-tokens.ts'
import { auditLogins } from '../sessions/logins.ts'
import { openSessions } from '../sessions/open.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { presentedSubject } from '../sessions/subject.ts'
import type { Sessions as ApiSessions, Audit } from './access.ts'
import { addApi } from './api.ts'

/** Adds the API where crosscloud.server.yml has `sessions`; its parts are checked to be there. */
export async function openApi(
  app: FastifyInstance,
  dependencies: Dependencies,
  options: ServeOptions,
  closing: Closing,
): Promise<void> {
  const { settings, variables, log, secrets } = options
  const { sessions: wanted, policy: rules, ledger: place, folder, listen } = settings
  if (wanted === undefined || rules === undefined || place === undefined) return
  const { redis, http, queue, intake, records, wakeUps } = dependencies
  const ledger = await openLedger(place, { folder })
  closing.push(() => ledger.close())
  const findToken = (hash: string) => useToken(ledger, hash)
  const onLogin = auditLogins((entry) => ledger.recordAudit(entry), log)
  const shown = { settings, redis, http, variables, onLogin, log }
  const keepTokens = hasAgents(settings)
  const sessions = await openSessions({ ...shown, findToken, keepTokens })
  if (sessions === undefined) return
  closing.push(() => sessions.close())
  const logins = await openLogins(shown)
  if (logins !== undefined) {
    closing.push(() => logins.close())
    await addLoginRoutes(app, { logins, url: wanted.url, secrets, log })
  }
  const worker = workerEnvironmentOf(options)
  const applications = openApplications({ settings, worker, variables })
  const access = accessQueue(redis.failFast, queue)
  const at = { client: redis.failFast, server: redis.name, base: access.base }
  const agents = hasAgents(settings)
    ? openAgents(settings, access, {
        store: openRunStore(access),
        permission: openPermission({ settings, sessions: at, log }, closing),
      })
    : undefined
  const shared = { agents, intake, records, wakeUps, applications, worker, log }
  const policy = compilePolicy(rules)
  await addApi(app, {
    sessions: presenting(withLogins(sessions, logins)),
    decide: (subject, question) => decide(policy, subject, question),
    sees: (subject, app) => mayViewAny(policy, subject, app),
    audit: auditOf(ledger),
    runs: openRuns({ access, ...shared, urlOf: runUrls(settings) }),
    access,
    agents,
    applications,
    worker,
    secrets,
    rate: listen.rate,
    log,
  })
}

/** A run is of whom the job's token names: the ledger and the gate want to know. */
function presenting(sessions: Sessions): ApiSessions {
  return {
    async authenticate(request) {
      const { person, subject, ...known } = await sessions.authenticate(request)
      return { ...known, subject: presentedSubject(subject, person) }
    },
    start: (request) => sessions.start(request),
    end: (session) => sessions.end(session),
  }
}

/** The audit log of the server's own ledger. */
function auditOf(ledger: Pick<Ledger, 'recordAudit' | 'audits'>): Audit {
  return {
    record: (entry) => ledger.recordAudit(auditStart(entry)),
    list: ({ before, limit }) =>
      ledger.audits({ limit, ...(before && { before: Number(before) }) }),
  }
}
