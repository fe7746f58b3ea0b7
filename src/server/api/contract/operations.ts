import { z } from 'zod'
import { decisionAnswer } from '../../../api/policy.ts'
import {
  application,
  applicationInFull,
  auditRecord,
  deployment,
  environmentInFull,
  pageOf,
  release,
  statusCell,
  unreadCells,
} from '../../../api/reads.ts'
import {
  cancelAccepted,
  cancelRequest,
  IDEMPOTENCY_KEY,
  idempotencyKey,
  planAnswer,
  run,
  runAccepted,
} from '../../../api/runs.ts'
import { sessionInfo, sessionRequest, sessionStarted } from '../../../api/session.ts'
import { versionAllotted, versionRequest } from '../../../api/versions.ts'
import { planRequest, runRequest } from '../../runs/requests.ts'
import { answer, conflict, events, nothing, refusals } from './answers.ts'
import { agentOperations, configOperations, streamOperations } from './changes.ts'
import { lookOperations } from './looks.ts'
import {
  applicationPath,
  auditQuery,
  decisionQuery,
  deploymentQuery,
  environmentPath,
  lastEventId,
  noQuery,
  pageQuery,
  releaseQuery,
  runPath,
} from './requests.ts'

/*
 * Each request of the API, once: what is checked when it comes in, what is answered, and what
 * openapi.json says of both. Every one but `startSession` and `openapi` is of somebody known.
 */

const sessionOperations = {
  startSession: {
    summary: 'Start a session with the ID token of a job',
    description:
      'Each ID token counts once. Later requests send `Authorization: DPoP SESSION` and, in `DPoP`, a new proof of the same key.',
    tags: ['session'],
    security: [{ proof: [] }],
    querystring: noQuery,
    body: sessionRequest,
    response: { 201: answer('The session', sessionStarted), ...refusals.ofBody },
  },
  readSession: {
    summary: 'Say who the caller is',
    description: 'For a session as for an API token.',
    tags: ['session'],
    querystring: noQuery,
    response: { 200: answer('Who the server takes the caller for', sessionInfo), ...refusals.any },
  },
  endSession: {
    summary: 'End the session',
    description: 'API tokens have none; they are revoked on the server.',
    tags: ['session'],
    querystring: noQuery,
    response: { 204: nothing('It has ended'), ...refusals.ofBody },
  },
} as const

const runOperations = {
  makePlan: {
    summary: 'Say what a step would do',
    description:
      'The same as `--plan --json` of the command. It is kept for a quarter of an hour, for its own reader. `verify-md5` has none.',
    tags: ['plans and runs'],
    querystring: noQuery,
    body: planRequest,
    response: {
      200: answer('The plan, with what stands in its way', planAnswer),
      ...refusals.ofBody,
      ...refusals.ofPolicy,
      409: conflict('The step cannot be planned in the state that things are in'),
    },
  },
  startRun: {
    summary: 'Run a plan, or a step with its inputs',
    description:
      'The run goes through the queue; its log and its end are in `runs/{id}/lines`. The same Idempotency-Key with the same body is the same run for a day.',
    tags: ['plans and runs'],
    querystring: noQuery,
    headers: z.looseObject({ [IDEMPOTENCY_KEY]: idempotencyKey.optional() }),
    body: runRequest,
    response: {
      202: answer('It is queued', runAccepted),
      ...refusals.ofBody,
      ...refusals.ofPolicy,
      ...refusals.ofKey,
      409: conflict(
        'What the plan was made of has changed: code `PLAN_STALE`, and `plan` is the new one',
      ),
    },
  },
  listRuns: {
    summary: 'List runs',
    description: 'Newest first, those that the caller may view.',
    tags: ['plans and runs'],
    querystring: pageQuery,
    response: { 200: answer('A page of runs', pageOf(run)), ...refusals.any },
  },
  readRun: {
    summary: 'Read a run',
    description: 'Its state, its inputs, who asked for it, how it ended.',
    tags: ['plans and runs'],
    querystring: noQuery,
    params: runPath,
    response: { 200: answer('The run', run), ...refusals.any, ...refusals.ofName },
  },
  followRun: {
    summary: 'Follow the log of a run',
    description:
      'Server-sent events: `line`, `finished` (the last one), `resync` where older lines are gone, `bye` before the server closes the stream; the schemas Line, Finished, Resync and Bye have their data. `Last-Event-ID` resumes strictly after.',
    tags: ['plans and runs'],
    querystring: noQuery,
    params: runPath,
    headers: z.looseObject({ 'last-event-id': lastEventId }),
    response: {
      200: events('The log, from its start or from where it was left'),
      ...refusals.any,
      ...refusals.ofPolicy,
    },
  },
  cancelRun: {
    summary: 'Cancel a run',
    description: 'A run that waits is dropped; one that works restores what it began.',
    tags: ['plans and runs'],
    querystring: noQuery,
    params: runPath,
    body: cancelRequest,
    response: {
      202: answer('It is being cancelled, and ends by itself', cancelAccepted),
      ...refusals.ofBody,
      ...refusals.ofPolicy,
      409: conflict('It is over'),
    },
  },
} as const

const readOperations = {
  listApplications: {
    summary: 'List applications',
    description: 'Those that the caller may view somewhere, with the environments where.',
    tags: ['applications'],
    querystring: noQuery,
    response: { 200: answer('All of them', pageOf(application)), ...refusals.any },
  },
  readStatus: {
    summary: 'Say what runs where',
    description: 'For each application and environment that the caller may view.',
    tags: ['applications'],
    querystring: noQuery,
    response: {
      200: answer('All of them', pageOf(z.union([statusCell, unreadCells]))),
      ...refusals.any,
    },
  },
  readApplication: {
    summary: 'Describe an application',
    description: 'As crosscloud.yml of the branch that counts has it.',
    tags: ['applications'],
    querystring: noQuery,
    params: applicationPath,
    response: {
      200: answer('The application', applicationInFull),
      ...refusals.any,
      ...refusals.ofName,
    },
  },
  readEnvironment: {
    summary: 'Describe an environment',
    description: 'Its hosts, its image repository, and what runs there.',
    tags: ['applications'],
    querystring: noQuery,
    params: environmentPath,
    response: {
      200: answer('The environment', environmentInFull),
      ...refusals.any,
      ...refusals.ofName,
    },
  },
  listReleases: {
    summary: 'List the releases of an application',
    description: 'Newest first.',
    tags: ['applications'],
    querystring: releaseQuery,
    params: applicationPath,
    response: {
      200: answer('A page of releases', pageOf(release)),
      ...refusals.any,
      ...refusals.ofName,
    },
  },
  listDeployments: {
    summary: 'List the deployments of an application',
    description: 'Newest first, in the environments that the caller may view.',
    tags: ['applications'],
    querystring: deploymentQuery,
    params: applicationPath,
    response: {
      200: answer('A page of deployments', pageOf(deployment)),
      ...refusals.any,
      ...refusals.ofName,
    },
  },
} as const

const buildOperations = {
  allotVersion: {
    summary: 'Allot a version',
    description:
      'The one after the last; it is not given again. Needs the verb `build` in the first environment.',
    tags: ['applications'],
    querystring: noQuery,
    params: applicationPath,
    body: versionRequest,
    response: {
      201: answer('The version', versionAllotted),
      ...refusals.ofBody,
      ...refusals.ofPolicy,
    },
  },
} as const

const policyOperations = {
  askPolicy: {
    summary: 'Ask whether the caller may do something',
    description: 'With the grant that decides. Of what may not be seen nobody learns who may.',
    tags: ['policy'],
    querystring: decisionQuery,
    response: { 200: answer('The decision', decisionAnswer), ...refusals.any },
  },
  listAudit: {
    summary: 'Read the audit log',
    description: 'Newest first. Needs the verb `audit-read` everywhere.',
    tags: ['policy'],
    querystring: auditQuery,
    response: {
      200: answer('A page of records', pageOf(auditRecord)),
      ...refusals.any,
      ...refusals.ofPolicy,
    },
  },
  openapi: {
    summary: 'This document',
    description: 'For everybody: it holds nothing that the repository does not hold.',
    tags: ['policy'],
    security: [],
    querystring: noQuery,
    response: { 200: answer('OpenAPI 3.1', z.looseObject({})), ...refusals.ofNobody },
  },
} as const

export const operations = {
  ...sessionOperations,
  ...runOperations,
  ...readOperations,
  ...buildOperations,
  ...configOperations,
  ...streamOperations,
  ...lookOperations,
  ...policyOperations,
  ...agentOperations,
} as const
