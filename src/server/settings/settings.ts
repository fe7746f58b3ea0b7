import { isIP, isIPv6 } from 'node:net'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import type { Secrets } from '../../core/secrets.ts'
import { duration, objectName, webhookSecret } from '../../core/settings/schema.ts'
import {
  parseYamlSettings,
  readSettingsText,
  type SettingsText,
} from '../../core/settings/settings-file.ts'
import { gateSettings } from '../effects/gate.ts'
import { jenkinsJobSettings } from '../effects/jenkins.ts'
import { pipelineSettings } from '../effects/pipeline.ts'
import { replySettings } from '../effects/reply.ts'
import { runSettings } from '../effects/run.ts'
import { workflowSettings } from '../effects/workflow.ts'
import { hasLogin, noticeSettings } from '../feedback/notify.ts'
import { queueSettings } from '../queue/settings.ts'
import { scheduleSettings } from '../schedules.ts'
import { kinds } from '../sources/event.ts'
import { genericHow } from '../sources/generic.ts'
import { SIGNING_KEY } from '../sources/source.ts'
import { findFaults } from './consistency.ts'

const secrets = z
  .array(webhookSecret)
  .min(1, 'names none; without a secret anybody could start a pipeline')
  .describe('Secrets the sender may know; two while one takes the place of the other')
const pattern = z
  .string()
  .min(1, 'is empty')
  .max(1000)
  .regex(/^(?!\/)/, 'begins with /, which no name does')
const projects = z
  .array(pattern.refine((one) => !/^https?:/.test(one), 'is a URL; write team/webapi'))
  .min(1, 'names none')
  .describe('Projects that are listened to: team/webapi, team/*, or ** for all')
const serverUrl = z
  .url({ protocol: /^https?$/ })
  .refine(
    (url) => !hasLogin(url),
    'has a login before the host; user and token have settings of their own',
  )

const apiToken = z
  .string()
  .min(1, 'is empty')
  .refine((token) => !/^\$\w+$/.test(token), 'is the name of a variable; write ${NAME}')

const gitlab = z.strictObject({
  secrets,
  projects,
  url: serverUrl.default('https://gitlab.com').describe('The GitLab server'),
  token: apiToken
    .optional()
    .describe('Token with scope api: starts pipelines, sets statuses, writes comments'),
  'catch-up': z
    .boolean()
    .default(false)
    .describe('Whether GitLab is asked for pushes that it could not deliver'),
})

const github = z.strictObject({
  secrets,
  projects,
  url: serverUrl
    .default('https://api.github.com')
    .describe('The API, such as https://github.example.com/api/v3'),
  token: apiToken.optional().describe('Token that may dispatch workflows and set statuses'),
  'catch-up': z
    .boolean()
    .default(false)
    .describe('Whether GitHub is asked for pushes to branches that it could not deliver'),
})
const gitea = z.strictObject({
  secrets,
  projects,
  url: serverUrl
    .refine((url) => !/\/api\/v1\/*$/.test(url), 'is the API; write https://gitea.example.com')
    .describe('The Gitea or Forgejo server'),
  token: apiToken
    .optional()
    .describe('Token that may dispatch workflows, set statuses, and read commits for paths'),
})
const harbor = z.strictObject({ secrets, projects })
const generic = genericHow
  .extend({ secrets, projects })
  .refine(
    (one) =>
      one.signature !== 'standard' || one.secrets.every((key) => key.startsWith(SIGNING_KEY)),
    { path: ['secrets'], message: `of signature: standard begin with ${SIGNING_KEY}` },
  )
const jenkins = z.strictObject({
  url: serverUrl.describe('The Jenkins server'),
  user: z.string().min(1).describe('User the jobs are started as'),
  token: z.string().min(1).describe("That user's API token"),
})

const patterns = z.array(pattern).min(1).optional()
const refs = z
  .array(pattern.regex(/^(?!refs\/)/, 'is a whole ref; write main, or v1.2'))
  .min(1)
  .optional()

/** What a route does; a route without any only sends notifications. */
const effects = {
  pipeline: pipelineSettings.optional().describe('Start a pipeline on GitLab'),
  workflow: workflowSettings.optional().describe('Dispatch a workflow on GitHub or Gitea'),
  jenkins: jenkinsJobSettings.optional().describe('Start a job on Jenkins'),
  run: runSettings.optional().describe('Run release, promote or deploy here, on a worker'),
  gate: gateSettings.optional().describe("Let a scan's result open or close a gate"),
  reply: replySettings.optional().describe('Answer a comment with the table of releases'),
}
export const effectNames = Object.keys(effects) as (keyof typeof effects)[]

const route = z
  .strictObject({
    name: objectName.describe('Its name, in logs, statuses and metrics'),
    source: z.string().describe('gitlab, github, gitea, harbor, or the name of a generic source'),
    on: z.array(z.enum(kinds)).min(1).default(['push']).describe('Kinds of events'),
    projects: patterns.describe('Projects; default all that the source listens to'),
    branches: refs.describe('Branches of a push or merge request; default all'),
    tags: refs.describe('Tags, of an image, too; default all'),
    paths: patterns.describe('At least one changed file must be like one of these; default all'),
    comment: z
      .string()
      .min(1)
      .default('/crosscloud status')
      .describe('Of comments, the one that is meant'),
    ...effects,
    supersede: z
      .boolean()
      .default(false)
      .describe('Whether a newer event takes the place of a waiting one of the same branch'),
    status: z.boolean().default(false).describe('Whether the commit gets a status with a link'),
    notify: z.array(objectName).default([]).describe('Who is told, by the names under notify'),
    retry: duration
      .prefault('24h')
      .describe('How long what fails is tried again, before it is a dead letter'),
  })
  .superRefine((one, check) => {
    const asked = effectNames.filter((name) => one[name] !== undefined)
    const fault = (message: string) => check.addIssue({ code: 'custom', message, input: one })
    if (asked.length > 1) fault(`does ${asked.join(' and ')}; make a route of each`)
    if (asked.length === 0 && one.notify.length === 0) {
      fault(`does nothing; give it one of ${effectNames.join(', ')}, or notify`)
    }
  })

export type RouteSettings = z.output<typeof route>

/** What Fastify takes. */
function isProxy(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/')
  const named = ['loopback', 'linklocal', 'uniquelocal'].includes(text)
  const sound = isIP(address) > 0 && (bits === undefined || /^\d{1,3}$/.test(bits))
  return named || (sound && more.length === 0 && Number(bits ?? 0) <= (isIPv6(address) ? 128 : 32))
}

const listen = z.strictObject({
  host: z.string().default('0.0.0.0').describe('Address to listen on'),
  port: z.int().min(0).max(65535).default(8080).describe('Port to listen on'),
  tls: z
    .strictObject({
      cert: z.string().describe('PEM file of the certificate, with those between'),
      key: z.string().describe('PEM file of its key'),
    })
    .optional()
    .describe('Without, a proxy in front must speak TLS'),
  proxies: z
    .array(z.string().refine(isProxy, 'is no address and no network; write 10.0.0.0/8'))
    .default([])
    .describe(
      'Proxies in front, as addresses or networks; what they say of the client is believed',
    ),
  body: z
    .int()
    .min(1024)
    .default(5 * 1024 * 1024)
    .describe('Longest delivery, in bytes'),
  rate: z
    .int()
    .min(1)
    .default(600)
    .describe('Most requests a second from one address; above it gets 429'),
})

/** crosscloud.server.yml, whole. */
export const serverSchema = z
  .strictObject({
    listen: listen.prefault({}),
    ca: z
      .string()
      .optional()
      .describe(
        'PEM file of an authority that is trusted beside the usual ones: by GitLab, GitHub, Gitea, Jenkins and receivers',
      ),
    queue: queueSettings,
    gitlab: gitlab.optional(),
    github: github.optional(),
    gitea: gitea.optional(),
    harbor: harbor.optional(),
    generic: z.record(objectName, generic).default({}),
    jenkins: jenkins.optional(),
    routes: z.array(route).default([]),
    notify: z.record(objectName, noticeSettings).default({}),
    schedules: z.array(scheduleSettings).default([]),
    metrics: z
      .strictObject({ token: webhookSecret.describe('Bearer token that Prometheus gives') })
      .optional()
      .describe('Without, only this machine may read /metrics'),
  })
  .superRefine((all, check) => {
    for (const { path, message } of findFaults(all)) {
      check.addIssue({ code: 'custom', path, message, input: all })
    }
  })

export type ServerSettings = z.output<typeof serverSchema> & {
  /** Absolute path of the file, and the folder all its paths start from. */
  file: string
  folder: string
}

export async function readServerSettings(
  path: string,
  variables: Readonly<Record<string, string | undefined>>,
  known: Secrets,
): Promise<ServerSettings> {
  const settings = await parseYamlSettings(serverSchema, await readFile(path), variables, known)
  for (const one of secretsOf(settings)) known.add(one)
  const file = resolve(path)
  return { ...settings, file, folder: dirname(file) }
}

const onlyQueue = z.strictObject({ queue: queueSettings })

/** Where the events are, without the secrets of all the rest. */
export async function readQueueSettings(
  path: string,
  variables: Readonly<Record<string, string | undefined>>,
  known: Secrets,
): Promise<Pick<ServerSettings, 'queue' | 'folder'>> {
  const file = { ...(await readFile(path)), only: 'queue' }
  const { queue } = await parseYamlSettings(onlyQueue, file, variables, known)
  known.add(queue.redis['sentinel-password'])
  return { queue, folder: dirname(resolve(path)) }
}

/** Where links lead; the addresses of receivers are secrets themselves. */
const isShown = (path: readonly string[]) => path.at(-1) === 'url' && path[0] !== 'notify'

async function readFile(path: string): Promise<SettingsText> {
  const hint =
    'Write it, or name another with --server FILE. docs/webhooks.md has one to start from.'
  const text = await readSettingsText(path, hint)
  return { text, name: path, page: 'docs/server-settings.md', isShown }
}

/** Whether they came from a variable or stand in the file: none is ever printed. */
function secretsOf(settings: z.output<typeof serverSchema>): (string | undefined)[] {
  const { gitlab, github, gitea, harbor, generic: more, jenkins, notify, metrics } = settings
  const fixed = [gitlab, github, gitea, harbor]
  const senders = [...fixed, ...Object.values(more)].flatMap((one) => one?.secrets ?? [])
  const receivers = Object.values(notify).flatMap(({ url, secret: one }) => [...partsOf(url), one])
  const tokens = [gitlab, github, gitea, jenkins, metrics].map((one) => one?.token)
  return [...senders, ...receivers, ...tokens]
}

/** A receiver's address and what is secret in it: the end of its path, and its query. */
function partsOf(url: string): string[] {
  const { pathname, searchParams } = new URL(url)
  const [last = ''] = pathname.split('/').slice(-1)
  return [url, ...(last.length >= 16 ? [last] : []), ...searchParams.values()]
}

/** INPUT_INVALID where the file has no route of this name any more. */
export function findRoute({ routes, file }: ServerSettings, name: string): RouteSettings {
  const found = routes.find((one) => one.name === name)
  if (found) return found
  throw new StepError('INPUT_INVALID', `there is no route "${name}" in ${file} any more`, {
    hint: 'Write it again and retry the event, or drop the event.',
  })
}
