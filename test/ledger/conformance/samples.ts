import { type Digest, sha256 } from '../../../src/core/digest.ts'
import type {
  Deployment,
  DeploymentStart,
  InstanceOutcome,
  Ledger,
  Release,
} from '../../../src/ledger/ledger.ts'

/** One empty database; each call opens it once more, with a clock of the caller's choice. */
export type OpenLedger = (options?: { now?: () => number }) => Promise<Ledger>

export const MINUTE = 60_000
export const HOSTILE = `Robert'); DROP TABLE releases;-- "\\' %_ \n\t é 漢字 😀 \${x} ; --`

export const digestOf = (text: string): Digest => sha256(text)

export function release(version: string, more: Partial<Release> = {}): Release {
  return {
    app: 'webapi',
    version,
    digest: digestOf(`image ${version}`),
    baseDigest: digestOf('base'),
    warMd5: 'd41d8cd98f00b204e9800998ecf8427e',
    warSha256: digestOf(`war ${version}`).slice('sha256:'.length),
    warSize: 67_108_864,
    repository: 'registry.test/team/webapi',
    commit: '2fd4e1c67a2d28fced849ee1bb76e7391b93eb12',
    branch: 'main',
    author: 'li',
    committedAt: '2026-01-31T11:00:00.000Z',
    pipelineUrl: 'https://gitlab.example.com/team/webapi/-/pipelines/1',
    jobUrl: 'https://gitlab.example.com/team/webapi/-/jobs/7',
    reason: 'fixes the search',
    bakedBy: 'ci',
    bakedIdentity: 'https://gitlab.example.com',
    bakedById: '7',
    bakedByMail: 'ci@example.com',
    bakedAt: '2026-01-31T12:00:00.000Z',
    ...more,
  }
}

export function outcome(host: string, more: Partial<InstanceOutcome> = {}): InstanceOutcome {
  return {
    host,
    containerId: `new-${host}`,
    previousContainerId: undefined,
    url: `http://${host}:8080`,
    ok: true,
    duration: 4200,
    ...more,
  }
}

export async function start(
  ledger: Ledger,
  { app, version, digest }: Release,
  environment: string,
  more: Partial<DeploymentStart> = {},
): Promise<Deployment> {
  return await ledger.startDeployment({
    app,
    version,
    environment,
    digest,
    configRevision: digestOf('config'),
    by: 'li',
    reason: undefined,
    ...more,
  })
}

export function ended(state: 'succeeded' | 'failed' | 'abandoned', hosts: InstanceOutcome[] = []) {
  return { state, hosts, verified: state === 'succeeded' }
}
