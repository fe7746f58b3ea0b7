import { z } from 'zod'
import {
  eventQuery,
  explainQuery,
  followQuery,
  historyQuery,
  hostQuery,
  listQuery,
  logQuery,
  previewQuery,
  reportQuery,
} from '../../../api/queries.ts'
import { objectName, version } from '../../../core/settings/schema.ts'
import { answer, conflict, events, refusals } from './answers.ts'
import { applicationPath, environmentPath, noQuery } from './requests.ts'

export const releasePath = z.object({ app: objectName, version })

/** What the command prints with `--json`, in pages where it is a list. */
const items = z.looseObject({
  items: z.array(z.looseObject({})),
  next: z.string().nullable().describe('The cursor of the next page; null: there is none'),
})
const document = z.looseObject({})

interface Look<Query extends z.ZodType, Path extends z.ZodType, Found extends z.ZodType> {
  summary: string
  description: string
  querystring: Query
  params: Path
  found: Found
}

function look<Query extends z.ZodType, Path extends z.ZodType, Found extends z.ZodType>({
  found,
  ...rest
}: Look<Query, Path, Found>) {
  return {
    ...rest,
    tags: ['looks'],
    response: {
      200: answer('What was found', found),
      ...refusals.any,
      ...refusals.ofPolicy,
      409: conflict('It cannot be looked at in the state that things are in'),
    },
  }
}

/** Of an environment, by a command of the command line. */
const ofEnvironment = <Query extends z.ZodType>(
  [summary, command]: readonly [string, string],
  querystring: Query,
  found: typeof items | typeof document = items,
) =>
  look({
    summary,
    description: `As \`crosscloud ${command} --json\`.`,
    ...{ querystring, params: environmentPath, found },
  })

/** What hosts, config centres, templates and ledgers say, as the commands give it. */
export const lookOperations = {
  listInstances: ofEnvironment(['List instances', 'instances list'], hostQuery),
  readStats: ofEnvironment(['Measure instances', 'instances stats'], hostQuery),
  listHosts: ofEnvironment(['List hosts', 'hosts list'], hostQuery),
  listImages: ofEnvironment(['List images on hosts', 'hosts images'], hostQuery),
  readLogs: ofEnvironment(['Read logs of instances', 'instances logs'], logQuery),
  lintConfig: ofEnvironment(['Check the config', 'config lint'], listQuery),
  previewTemplates: ofEnvironment(['Render templates', 'render-config'], previewQuery, document),
  listConfigChanges: ofEnvironment(['List changes of config', 'config history'], listQuery),
  listHistory: ofEnvironment(['List what happened', 'history'], historyQuery),
  listLocks: ofEnvironment(['Say who holds the lock', 'status'], noQuery),
  listMarks: ofEnvironment(['List marks of releases', 'history'], listQuery),
  followLogs: {
    summary: 'Follow logs of instances',
    description: 'Server-sent events: `line` as it comes, `ended` when nothing more will.',
    tags: ['looks'],
    querystring: followQuery,
    params: environmentPath,
    response: {
      200: events('The lines'),
      ...refusals.any,
      ...refusals.ofPolicy,
    },
  },
  readReport: look({
    summary: 'Measure deliveries',
    description: 'As `crosscloud report --json`, of environments that the caller may view.',
    ...{ querystring: reportQuery, params: applicationPath, found: items },
  }),
  readRelease: look({
    summary: 'Tell the life of a release',
    description: 'Its approvals, marks and deployments, where the caller may view.',
    ...{ querystring: noQuery, params: releasePath, found: document },
  }),
  explain: look({
    summary: 'Say what a name or number stands for',
    description: 'As `crosscloud explain --json`: a version, MD5, digest, commit or container.',
    ...{ querystring: explainQuery, params: applicationPath, found: document },
  }),
  listEvents: {
    summary: 'List events of webhooks',
    description: 'Needs the verb `events` everywhere.',
    tags: ['looks'],
    querystring: eventQuery,
    response: { 200: answer('A page of events', items), ...refusals.any, ...refusals.ofPolicy },
  },
} as const
