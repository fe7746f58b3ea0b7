import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { serverSettings } from '../api/settings.ts'
import type { Secrets } from '../core/secrets.ts'
import { duration, objectName } from '../core/settings/schema.ts'
import { parseYamlSettings, readSettingsText } from '../core/settings/settings-file.ts'
import { policySettings } from '../policy/settings.ts'
import {
  applicationSettings,
  type WrittenApplications,
  writtenApplications,
} from '../server/applications/settings.ts'
import { sessionIssuers } from '../server/sessions/settings.ts'

/** crosscloud.agent.yml, whole: what the agent believes and may do, whatever the server says. */
export const agentSchema = z.strictObject({
  server: serverSettings.describe('The server that it asks for work; the aud of ID tokens of jobs'),
  token: z
    .string()
    .regex(/^cct_[\w-]{43}$/, 'is not an API token; `crosscloud tokens create` makes one')
    .describe('API token with the verb agent, bound to the key of this agent'),
  ca: z
    .string()
    .optional()
    .describe('PEM file of an authority that is trusted beside the usual ones, by issuers'),
  issuers: sessionIssuers.describe(
    'Who signs ID tokens of jobs, as sessions.issuers of the server',
  ),
  policy: policySettings.describe(
    'Who may do what here, by what their tokens say; beside the policy of the server',
  ),
  applications: z
    .record(objectName, applicationSettings)
    .refine((named) => Object.keys(named).length > 0, 'names none')
    .describe('As on the server, with the credentials that only this agent has'),
  concurrency: z.int().min(1).max(100).default(4).describe('Commands run here at the same time'),
  'shutdown-timeout': duration
    .prefault('1m')
    .describe('How long running work may go on after SIGTERM'),
})

export type AgentSettings = z.output<typeof agentSchema> & {
  /** Absolute path of the file, and the folder all its paths start from. */
  file: string
  folder: string
  /** `applications` with their variables, as they are written. */
  written: WrittenApplications
}

export async function readAgentSettings(
  path: string,
  variables: Readonly<Record<string, string | undefined>>,
  known: Secrets,
  server?: string,
): Promise<AgentSettings> {
  const hint =
    'Write it, or name another: `crosscloud agent --file FILE`. docs/agents.md has one to start from.'
  const text = await readSettingsText(path, hint)
  const isShown = (place: readonly string[]) => place[0] === 'server'
  const source = { text, name: path, page: 'docs/agent-settings.md', isShown }
  const settings = await parseYamlSettings(agentSchema, source, variables, known)
  known.add(settings.token)
  const file = resolve(path)
  const written = await writtenApplications(text)
  const address = server === undefined ? settings.server : { ...settings.server, url: server }
  return { ...settings, server: address, file, folder: dirname(file), written }
}
