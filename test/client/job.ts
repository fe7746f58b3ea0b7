import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { accountOf, gitlabClaims } from '../identity/issuer.ts'
import { type ProgramOptions, runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'
import type { ApiServer } from './api-server.ts'

export const digest = `sha256:${'a'.repeat(64)}`
export const outputs = {
  ...{ release: 'webapi@1.0.1', environment: 'test', deployment: 'd1', digest },
  ...{ warMd5: 'd41d8cd98f00b204e9800998ecf8427e', configRevision: 'c1', verified: true },
  containers: [{ host: 'app-01', containerId: 'abc', downtime: 0, silence: 0 }],
}
export const DEPLOY = ['deploy', 'webapi@1.0.1', '--env', 'test']

/** A job of GitLab in a folder of its own, whose only way to anything is the server. */
export async function jobOf(t: Test, server: ApiServer, claims = {}) {
  const cwd = await temporaryFolder(t)
  await writeFile(
    join(cwd, 'crosscloud.yml'),
    `app: webapi\nserver: { url: "${server.url}", wait: 5s }\n`,
  )
  const { issuer } = server.world
  const all = gitlabClaims(issuer.url, { aud: server.url, ...accountOf('dev-wang'), ...claims })
  const variables = {
    ...{ CROSSCLOUD_WORKER: '', GITLAB_USER_LOGIN: '', GITLAB_CI: 'true', CI_JOB_ID: '302' },
    ...{ CI_SERVER_URL: issuer.url, CROSSCLOUD_ID_TOKEN: await issuer.sign(all) },
  }
  const job = (args: string[], more: Partial<ProgramOptions> = {}) =>
    runHere(args, { cwd, ...more, variables: { ...variables, ...more.variables } })
  return { cwd, job, token: variables.CROSSCLOUD_ID_TOKEN }
}
