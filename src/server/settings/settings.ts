import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import type { Secrets } from '../../core/secrets.ts'
import { objectName, webhookSecret } from '../../core/settings/schema.ts'
import {
  parseYamlSettings,
  readSettingsText,
  type SettingsText,
} from '../../core/settings/settings-file.ts'
import { ledgerSettings } from '../../ledger/settings.ts'
import { type PolicySettings, policySettings } from '../../policy/settings.ts'
import {
  applicationSettings,
  type WrittenApplications,
  writtenApplications,
} from '../applications/settings.ts'
import { receiverSettings } from '../feedback/receiver-settings.ts'
import { loginSettings } from '../logins/settings.ts'
import { queueSettings } from '../queue/settings.ts'
import { scheduleSettings } from '../schedules/settings.ts'
import { sessionSettings } from '../sessions/settings.ts'
import { findProblems } from './consistency.ts'
import { listen } from './listen.ts'
import { route } from './route.ts'
import { generic, gitea, github, gitlab, harbor, jenkins } from './servers.ts'

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
    notify: z.record(objectName, receiverSettings).default({}),
    schedules: z.array(scheduleSettings).default([]),
    applications: z
      .record(objectName, applicationSettings)
      .default({})
      .describe('Applications that steps over HTTP work on: docs/server.md'),
    sessions: sessionSettings.optional(),
    logins: loginSettings.optional(),
    ledger: ledgerSettings
      .optional()
      .describe('Ledger of the audit log and of API tokens; sessions need it'),
    metrics: z
      .strictObject({ token: webhookSecret.describe('Bearer token that Prometheus gives') })
      .optional()
      .describe('Without, only this machine may read /metrics'),
    policy: policySettings.optional(),
  })
  .superRefine((all, check) => {
    for (const { path, message } of findProblems(all)) {
      check.addIssue({ code: 'custom', path, message, input: all })
    }
  })

export type ServerSettings = z.output<typeof serverSchema> & {
  /** Absolute path of the file, and the folder all its paths start from. */
  file: string
  folder: string
  /** `applications` with their variables, as they are written. */
  written: WrittenApplications
}

export async function readServerSettings(
  path: string,
  variables: Readonly<Record<string, string | undefined>>,
  known: Secrets,
): Promise<ServerSettings> {
  const text = await readFile(path)
  const settings = await parseYamlSettings(serverSchema, text, variables, known)
  const written = await writtenApplications(text.text)
  for (const secret of secretsOf(settings)) known.add(secret)
  const file = resolve(path)
  return { ...settings, file, folder: dirname(file), written }
}

const onlyQueue = z.strictObject({ queue: queueSettings })

/** Reads only `queue:`, without the secrets of the other parts. */
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

const onlyPolicy = z.strictObject({ policy: policySettings.optional() })

/** Reads only `policy:`, without the secrets of the other parts. */
export async function readPolicySettings(
  ...source: Parameters<typeof findPolicySettings>
): Promise<PolicySettings> {
  const policy = await findPolicySettings(...source)
  if (policy !== undefined) return policy
  throw new StepError('INPUT_INVALID', `${source[0]} has no policy`, {
    hint: 'Without it nobody may do anything over HTTP. docs/policy.md has one to start from.',
  })
}

/** The same where there may be none. */
export async function findPolicySettings(
  path: string,
  variables: Readonly<Record<string, string | undefined>>,
  known: Secrets,
): Promise<PolicySettings | undefined> {
  const file = { ...(await readFile(path)), only: 'policy' }
  return (await parseYamlSettings(onlyPolicy, file, variables, known)).policy
}

const onlyLedger = z.strictObject({ ledger: ledgerSettings.optional() })

/** Reads only `ledger:`, without the secrets of the other parts. */
export async function readLedgerSettings(
  path: string,
  variables: Readonly<Record<string, string | undefined>>,
  known: Secrets,
): Promise<{ ledger: z.output<typeof ledgerSettings>; folder: string }> {
  const file = { ...(await readFile(path)), only: 'ledger' }
  const { ledger } = await parseYamlSettings(onlyLedger, file, variables, known)
  if (ledger !== undefined) return { ledger, folder: dirname(resolve(path)) }
  throw new StepError('INPUT_INVALID', `${path} has no ledger`, {
    hint: 'Name the one that its audit log and its API tokens are in. docs/server.md has an example.',
  })
}

/** Addresses are shown, except those of receivers, which are secrets. */
const isShown = (path: readonly string[]) => path.at(-1) === 'url' && path[0] !== 'notify'

async function readFile(path: string): Promise<SettingsText> {
  const hint =
    'Write it, or name another with --server FILE. docs/webhooks.md has one to start from.'
  const text = await readSettingsText(path, hint)
  return { text, name: path, page: 'docs/server-settings.md', isShown }
}

/** All secrets, from variables or from the file itself: none is ever printed. */
function secretsOf(settings: z.output<typeof serverSchema>): (string | undefined)[] {
  const {
    gitlab,
    github,
    gitea,
    harbor,
    generic: more,
    jenkins,
    notify,
    metrics,
    logins,
  } = settings
  const people = Object.values(logins?.issuers ?? {}).map((issuer) => issuer['client-secret'])
  const sources = [gitlab, github, gitea, harbor, ...Object.values(more)]
  const senders = sources.flatMap((source) => source?.secrets ?? [])
  const receivers = Object.values(notify).flatMap(({ url, secret }) => [...partsOf(url), secret])
  const tokens = [gitlab, github, gitea, jenkins, metrics].map((server) => server?.token)
  return [...senders, ...receivers, ...tokens, ...people]
}

/** The address of a receiver and its secret parts: the end of its path, and its query. */
function partsOf(url: string): string[] {
  const { pathname, searchParams } = new URL(url)
  const [last = ''] = pathname.split('/').slice(-1)
  return [url, ...(last.length >= 16 ? [last] : []), ...searchParams.values()]
}
