import type { FastifyInstance } from 'fastify'
import { StepError } from '../../core/errors.ts'
import type { AuditStart, Ledger } from '../../ledger/ledger.ts'
import { openLedger } from '../../ledger/open.ts'
import { compilePolicy } from '../../policy/compile.ts'
import { decide } from '../../policy/decide.ts'
import { isVerb } from '../../policy/verbs.ts'
import { hasAgents, openAgents } from '../agents/agents.ts'
import { openApplications } from '../applications/applications.ts'
import type { Closing, Dependencies, ServeOptions } from '../dependencies.ts'
import { workerEnvironmentOf } from '../effects/worker-environment.ts'
import { accessQueue } from '../queue/access.ts'
import { runUrls } from '../runs/route.ts'
import { openRuns } from '../runs/runs.ts'
import { openRunStore } from '../runs/store.ts'
import { auditLogins } from '../sessions/logins.ts'
import { openSessions } from '../sessions/open.ts'
import type { ApiToken, Sessions } from '../sessions/sessions.ts'
import { presentedSubject } from '../sessions/subject.ts'
import type { Sessions as ApiSessions, Audit, AuditEntry } from './access.ts'
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
  const sessions = await openSessions({
    ...{ settings, redis, http, variables, findToken, log },
    onLogin: auditLogins((entry) => ledger.recordAudit(entry), log),
    keepTokens: hasAgents(settings),
  })
  if (sessions === undefined) return
  closing.push(() => sessions.close())
  const worker = workerEnvironmentOf(options)
  const applications = openApplications({ settings, worker, variables })
  const access = accessQueue(redis.failFast, queue)
  const agents = hasAgents(settings)
    ? openAgents(settings, access, openRunStore(access))
    : undefined
  const shared = { agents, intake, records, wakeUps, applications, worker, log }
  const policy = compilePolicy(rules)
  await addApi(app, {
    sessions: presenting(sessions),
    decide: (subject, question) => decide(policy, subject, question),
    audit: auditOf(ledger),
    runs: openRuns({ access, ...shared, urlOf: runUrls(settings) }),
    agents,
    applications,
    worker,
    secrets,
    rate: listen.rate,
    log,
  })
}

/** A token whose use the ledger notes; one that is revoked or over is told apart from an unknown one. */
async function useToken(
  ledger: Pick<Ledger, 'findToken' | 'useToken'>,
  hash: string,
): Promise<ApiToken | undefined> {
  const found = await ledger.findToken(hash)
  if (found === undefined) return undefined
  const { name, scope, expiresAt, revokedAt, state, key } = found
  if (state === 'living') await ledger.useToken(hash)
  // A verb of a later version allows nothing here.
  return { name, expiresAt, revokedAt, key, scope: { ...scope, verbs: scope.verbs.filter(isVerb) } }
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

const LONGEST_NAME = 255
const LONGEST_TEXT = 16 * 1024
const PAGE = /^\d{1,15}$/

/** The audit log of the server's own ledger. */
function auditOf(ledger: Pick<Ledger, 'recordAudit' | 'audits'>): Audit {
  return {
    record: (entry) => ledger.recordAudit(auditStart(entry)),
    list: ({ before, limit }) => {
      if (before !== undefined && !PAGE.test(before)) {
        throw new StepError('INPUT_INVALID', 'cursor is none of this list')
      }
      return ledger.audits({ limit, ...(before && { before: Number(before) }) })
    },
  }
}

/** A reason cannot look like another input. */
const quoted = (value: string) => (/^[\w.@:/+-]+$/.test(value) ? value : JSON.stringify(value))

export function auditStart({ subject, object, ...entry }: AuditEntry): AuditStart {
  const { app, environment, ...more } = object
  const text = Object.entries(more).map(([name, value]) => `${name} ${quoted(value)}`)
  return {
    ...entry,
    subject: subject.slice(0, LONGEST_NAME),
    object: {
      app,
      environment,
      ...(text.length > 0 && { text: text.join(', ').slice(0, LONGEST_TEXT) }),
    },
  }
}
