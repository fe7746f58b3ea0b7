import { z } from 'zod'
import {
  agent,
  leaseAnswer,
  leaseRequest,
  reportAnswer,
  reportRequest,
} from '../../../api/agents.ts'
import { configChanged, configPage, configPatch, configQuery } from '../../../api/config.ts'
import { pageOf } from '../../../api/reads.ts'
import { streamPosition, streamQuery } from '../../../api/stream.ts'
import { answer, conflict, events, refusals } from './answers.ts'
import { environmentPath, noQuery, runPath } from './requests.ts'

/** The ETag of a set of config, or `*`, which says nothing of what was seen. */
const ifMatch = z.string().regex(/^(?:"[\w-]{16,64}"|\*)$/, 'is not an ETag of this config')

export const configOperations = {
  readConfig: {
    summary: 'List the config of an environment',
    description: 'Secrets are only named. The ETag is that of the whole set. Needs `config-read`.',
    tags: ['config'],
    querystring: configQuery,
    params: environmentPath,
    response: {
      200: answer('A page of keys', configPage),
      ...refusals.any,
      ...refusals.ofPolicy,
      409: conflict('The environment has no config, or the store is in another state'),
    },
  },
  editConfig: {
    summary: 'Change keys of the config',
    description:
      'All changes or none, of what was seen. Needs `config-write`, and `secret-write` for secrets. It is in force with the next deployment.',
    tags: ['config'],
    querystring: noQuery,
    params: environmentPath,
    headers: z.looseObject({ 'if-match': ifMatch.optional() }),
    body: configPatch,
    response: {
      200: answer('What was changed', configChanged),
      ...refusals.ofBody,
      ...refusals.ofPolicy,
      ...refusals.ofSeen,
      409: conflict('The config is in the repository, or the store is in another state'),
    },
  },
} as const

export const streamOperations = {
  followChanges: {
    summary: 'Follow all that changes',
    description:
      'Server-sent events of runs, logs, status, approvals, config and agents, each that the caller may view. `Last-Event-ID` resumes strictly after; `resync` says that older ones are gone.',
    tags: ['stream'],
    querystring: streamQuery,
    headers: z.looseObject({ 'last-event-id': streamPosition.optional() }),
    response: {
      200: events('Events, as they come'),
      ...refusals.any,
      ...refusals.ofPolicy,
    },
  },
} as const

/** For `crosscloud agent`, which has an API token with the verb `agent` that is bound to its key. */
export const agentOperations = {
  listAgents: {
    summary: 'List agents',
    description: 'As far as the caller may view where they work, and when each was last seen.',
    tags: ['agents'],
    querystring: noQuery,
    response: { 200: answer('All of them', pageOf(agent)), ...refusals.any },
  },
  takeLease: {
    summary: 'Take a run to carry out',
    description: 'For agents. Answered when there is one, or after half a minute.',
    tags: ['agents'],
    querystring: noQuery,
    body: leaseRequest,
    response: {
      200: answer('A run, or null', leaseAnswer),
      ...refusals.ofBody,
      ...refusals.ofPolicy,
    },
  },
  reportRun: {
    summary: 'Say what became of a run',
    description: 'For the agent that has it; the lease lasts on from here.',
    tags: ['agents'],
    querystring: noQuery,
    params: runPath,
    body: reportRequest,
    response: {
      200: answer('It is taken in', reportAnswer),
      ...refusals.ofBody,
      ...refusals.ofPolicy,
      409: conflict('Another agent has the run by now, or it is over'),
    },
  },
} as const
