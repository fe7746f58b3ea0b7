import { z } from 'zod'
import { configKeySettings } from '../../config/store/settings.ts'
import { objectName } from '../../core/settings/schema.ts'
import { gitlabSettings } from '../../gitlab/settings.ts'
import { identitySettings } from '../../identity/settings.ts'
import { ledgerSettings } from '../../ledger/settings.ts'
import { environmentSettings } from '../../settings.ts'
import { gitAddress } from '../effects/checkout.ts'
import { commandVariables } from '../effects/worker-environment.ts'

/** A name that git takes for a branch, and for nothing else. */
const branchName = z
  .string()
  .regex(/^(?!-)(?!.*\.\.)[\w./-]+$/, 'is not the name of a branch; write main')

const folderInRepository = z
  .string()
  .refine(
    (path) => !path.startsWith('/') && !path.split(/[\\/]/).includes('..'),
    'is not below the repository; write services/webapi',
  )

const agentNames = z
  .union([objectName.transform((name) => [name]), z.array(objectName).min(1, 'names none')])
  .describe('Agent, or agents, that carry out what is asked for there: docs/agents.md')

/** One of `applications:` in crosscloud.server.yml: what steps over HTTP may work on. */
export const applicationSettings = z.strictObject({
  repository: gitAddress
    .refine((url) => !url.includes('{{'), 'is a template; write the whole address')
    .describe('Git repository with crosscloud.yml'),
  branch: branchName.describe('The protected branch whose crosscloud.yml counts'),
  path: folderInRepository.default('.').describe('Folder of crosscloud.yml in the repository'),
  submodules: z
    .boolean()
    .default(false)
    .describe(
      'Whether its submodules on the same server are fetched, with the same credential; default: false',
    ),
  variables: commandVariables,
  ledger: ledgerSettings
    .optional()
    .describe("Needed; the repository's does not count here, nor its next four"),
  identity: identitySettings.optional(),
  registries: z
    .strictObject({
      insecure: z.array(z.string()).optional().describe('Hosts that speak plain HTTP'),
      ca: z
        .record(z.string(), z.string())
        .optional()
        .describe('PEM files by registry host, trusted beside the usual authorities'),
    })
    .optional()
    .describe('As registries in crosscloud.yml'),
  'config-key': configKeySettings.optional(),
  gitlab: gitlabSettings
    .pick({ url: true, ca: true, project: true })
    .optional()
    .describe('The project whose approvals count where a gate has platform-approvals'),
  environments: z
    .record(objectName, environmentSettings.partial().extend({ agent: agentNames.optional() }))
    .default({})
    .describe(
      "Settings of environments that win over the repository's: hosts, config, image, gate",
    ),
  'hosts-from-repository': z
    .boolean()
    .default(false)
    .describe(
      'Where environments here have hosts: the repository may name hosts of the others; default: false',
    ),
  allow: z
    .array(z.string().min(1))
    .default([])
    .describe(
      'What its containers may have of their hosts, in the words of the refusal: mounts /data of the host at /data',
    ),
})

export type ApplicationSettings = z.output<typeof applicationSettings>

/**
 * The settings of an application that are the server's alone: who may, and where secrets go. Where
 * the server has none of them, that is what counts.
 */
export const ownKeys = ['ledger', 'identity', 'registries', 'config-key', 'gitlab'] as const

/** The same as they are written, with their variables: they go into the checkout so. */
export type WrittenApplications = Readonly<Record<string, Readonly<Record<string, unknown>>>>

/** `applications:` of the text of crosscloud.server.yml, which has been checked before. */
export async function writtenApplications(text: string): Promise<WrittenApplications> {
  if (!/^['"]?applications['"]?\s*:/m.test(text)) return {}
  const { parse } = await import('yaml')
  const { applications } = parse(text) as { applications?: WrittenApplications | null }
  return applications ?? {}
}
