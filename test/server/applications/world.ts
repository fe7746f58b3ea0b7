import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { silentLog } from '../../../src/core/log.ts'
import { createSecrets } from '../../../src/core/secrets.ts'
import { openApplications } from '../../../src/server/applications/applications.ts'
import {
  applicationSettings,
  type WrittenApplications,
} from '../../../src/server/applications/settings.ts'
import { makeRepository } from '../../support/servers/git.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const PROGRAM = fileURLToPath(import.meta.url)

/** An application that is registered on a server, and its repository. */
export async function setUp(
  t: Test,
  written: Record<string, unknown> = {},
  more: Record<string, string> = {},
  others: Record<string, unknown> = {},
) {
  const folder = await temporaryFolder(t)
  const repository = await makeRepository(join(folder, 'repository'))
  const own = {
    repository: `file://${repository.folder}`,
    branch: 'main',
    ledger: 'mysql://crosscloud@127.0.0.1/ledger',
    ...written,
  }
  const worker = {
    ...{ folder, program: PROGRAM, log: silentLog, secrets: createSecrets() },
    variables: {
      PATH: process.env.PATH ?? '',
      HOME: folder,
      CROSSCLOUD_STATE: join(folder, 'state'),
    },
  }
  const variables: Record<string, string> = {
    ...{ PRODUCTION_PASSWORD: 'swordfish-1', OTHER: 'x' },
    ...more,
  }
  const read = JSON.stringify(own).replace(/\$\{(\w+)\}/g, (all, name) => variables[name] ?? all)
  const settings = {
    applications: {
      webapi: applicationSettings.parse(JSON.parse(read)),
      ...Object.fromEntries(
        Object.entries(others).map(([name, other]) => [name, applicationSettings.parse(other)]),
      ),
    },
    written: { webapi: own, ...others } as WrittenApplications,
    folder,
  }
  const applications = openApplications({ settings, worker, variables })
  const open = () => applications.open('webapi', AbortSignal.timeout(30_000))
  const commit = (environments: object, more: object = {}) =>
    repository.commit({ 'crosscloud.yml': stringify({ app: 'webapi', environments, ...more }) })
  return { folder, repository, applications, open, commit }
}

export const test = { image: 'registry.test/webapi' }
