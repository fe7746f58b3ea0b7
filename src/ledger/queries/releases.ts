import type { Selectable, Transaction } from 'kysely'
import { type Digest, parseDigest } from '../../core/digest.ts'
import { StepError } from '../../core/errors.ts'
import { type Access, holdApplication, nextNumber, timestamp } from '../database/access.ts'
import {
  checkAmount,
  checkFilled,
  checkLimit,
  checkName,
  checkText,
  checkTime,
  checkVersion,
  invalid,
} from '../database/names.ts'
import type { ReleasesTable, Schema } from '../database/schema.ts'
import type { Ledger, Release } from '../ledger.ts'
import { raises, versionAfter } from './versions.ts'

const MD5 = /^[0-9a-f]{32}$/

type Releases = Pick<
  Ledger,
  | 'nextVersion'
  | 'recordRelease'
  | 'findRelease'
  | 'findReleaseByDigest'
  | 'releasesByWar'
  | 'inOrder'
  | 'releases'
>

export function createReleases({ read, write, now }: Access): Releases {
  return {
    async nextVersion(app) {
      checkName('application', app)
      return await write(`allotting a version of ${app}`, async (trx) => {
        const version = versionAfter(await holdApplication(trx, app, now()))
        await countFrom(trx, app, version)
        return version
      })
    },

    async recordRelease(release) {
      checkRelease(release)
      const { app, version, digest } = release
      await write(`recording ${app}@${version}`, async (trx) => {
        const last = await holdApplication(trx, app, now())
        const known = await digestOf(trx, release)
        if (known !== undefined) return assertSame(release, known)
        const number = await nextNumber(trx, 'release')
        const recorded_at = timestamp(now())
        await trx
          .insertInto('releases')
          .values({ ...toRow(release), number, digest, recorded_at })
          .execute()
        if (raises(version, last)) await countFrom(trx, app, version)
      })
    },

    async findRelease(app, version) {
      checkName('application', app)
      checkVersion(version)
      const row = await read(`looking up ${app}@${version}`, (db) =>
        db
          .selectFrom('releases')
          .selectAll()
          .where('app', '=', app)
          .where('version', '=', version)
          .executeTakeFirst(),
      )
      return row && fromRow(row)
    },

    async findReleaseByDigest(app, digest) {
      checkName('application', app)
      parseDigest(digest)
      const row = await read(`looking up ${app} by ${digest}`, (db) =>
        db
          .selectFrom('releases')
          .selectAll()
          .where('app', '=', app)
          .where('digest', '=', digest)
          .orderBy('number', 'desc')
          .limit(1)
          .executeTakeFirst(),
      )
      return row && fromRow(row)
    },

    async releasesByWar(app, md5, limit) {
      checkName('application', app)
      checkLimit(limit)
      if (!MD5.test(md5)) throw invalid(`"${md5.slice(0, 40)}" is not an MD5 in hex`)
      const rows = await read(`looking up ${app} by its WAR`, (db) =>
        db
          .selectFrom('releases')
          .selectAll()
          .where('app', '=', app)
          .where('war_md5', '=', md5)
          .orderBy('number', 'desc')
          .limit(limit)
          .execute(),
      )
      return rows.map(fromRow)
    },

    async inOrder(app, versions) {
      checkName('application', app)
      for (const version of versions) checkVersion(version)
      if (versions.length === 0) return []
      const rows = await read(`ordering releases of ${app}`, (db) =>
        db
          .selectFrom('releases')
          .select('version')
          .where('app', '=', app)
          .where('version', 'in', [...versions])
          .orderBy('number')
          .execute(),
      )
      return rows.map(({ version }) => version)
    },

    async releases(app, limit, commit) {
      checkName('application', app)
      checkLimit(limit)
      const rows = await read(`listing the releases of ${app}`, (db) =>
        db
          .selectFrom('releases')
          .selectAll()
          .where('app', '=', app)
          .$if(commit !== undefined, (query) => query.where('commit_id', '=', commit ?? null))
          .orderBy('number', 'desc')
          .limit(limit)
          .execute(),
      )
      return rows.map(fromRow)
    },
  }
}

/** The digest that a release is recorded with. */
export async function digestOf(
  trx: Transaction<Schema>,
  { app, version }: Pick<Release, 'app' | 'version'>,
): Promise<Digest | undefined> {
  const row = await trx
    .selectFrom('releases')
    .select('digest')
    .where('app', '=', app)
    .where('version', '=', version)
    .executeTakeFirst()
  return row?.digest as Digest | undefined
}

/** The next version allotted comes after this one. */
async function countFrom(trx: Transaction<Schema>, app: string, version: string): Promise<void> {
  await trx
    .updateTable('applications')
    .set({ last_version: version })
    .where('name', '=', app)
    .execute()
}

function assertSame({ app, version, digest }: Release, recorded: string): void {
  if (recorded === digest) return
  throw new StepError(
    'CONFLICT',
    `${app}@${version} is recorded with ${recorded}, it cannot become ${digest}`,
    { hint: 'A release never changes. Give the new build a version of its own.' },
  )
}

function checkRelease(release: Release): void {
  checkName('application', release.app)
  checkVersion(release.version)
  const what = `${release.app}@${release.version}`
  parseDigest(release.digest, `digest of ${what}`)
  if (release.baseDigest !== undefined) parseDigest(release.baseDigest, `base digest of ${what}`)
  if (!MD5.test(release.warMd5)) throw invalid(`${what}: warMd5 is not an MD5 in hex`)
  if (!/^[0-9a-f]{64}$/.test(release.warSha256)) {
    throw invalid(`${what}: warSha256 is not a SHA-256 in hex`)
  }
  checkAmount(`${what}: WAR size`, release.warSize)
  checkFilled(`${what}: repository`, release.repository, 512)
  checkText(`${what}: commit`, release.commit, 64)
  checkText(`${what}: branch`, release.branch, 255)
  checkText(`${what}: author`, release.author, 255)
  checkText(`${what}: pipeline URL`, release.pipelineUrl)
  checkText(`${what}: job URL`, release.jobUrl)
  checkText(`${what}: reason`, release.reason)
  checkFilled(`${what}: baked by`, release.bakedBy, 255)
  checkText(`${what}: identity`, release.bakedIdentity, 255)
  checkText(`${what}: id of who baked it`, release.bakedById, 64)
  checkText(`${what}: mail of who baked it`, release.bakedByMail, 255)
  checkTime(`${what}: bakedAt`, release.bakedAt)
  if (release.committedAt !== undefined) checkTime(`${what}: committedAt`, release.committedAt)
}

function toRow(release: Release): Omit<ReleasesTable, 'number' | 'recorded_at'> {
  return {
    app: release.app,
    version: release.version,
    digest: release.digest,
    base_digest: release.baseDigest ?? null,
    war_md5: release.warMd5,
    war_sha256: release.warSha256,
    war_size: release.warSize,
    repository: release.repository,
    commit_id: release.commit ?? null,
    branch: release.branch ?? null,
    author: release.author ?? null,
    pipeline_url: release.pipelineUrl ?? null,
    job_url: release.jobUrl ?? null,
    committed_at: release.committedAt ?? null,
    reason: release.reason ?? null,
    baked_by: release.bakedBy,
    baked_at: release.bakedAt,
    baked_identity: release.bakedIdentity ?? null,
    baked_by_id: release.bakedById ?? null,
    baked_by_mail: release.bakedByMail ?? null,
  }
}

function fromRow(row: Selectable<ReleasesTable>): Release {
  return {
    app: row.app,
    version: row.version,
    digest: row.digest as Digest,
    baseDigest: (row.base_digest as Digest | null) ?? undefined,
    warMd5: row.war_md5,
    warSha256: row.war_sha256,
    warSize: row.war_size,
    repository: row.repository,
    commit: row.commit_id ?? undefined,
    committedAt: row.committed_at ?? undefined,
    branch: row.branch ?? undefined,
    author: row.author ?? undefined,
    pipelineUrl: row.pipeline_url ?? undefined,
    jobUrl: row.job_url ?? undefined,
    reason: row.reason ?? undefined,
    bakedBy: row.baked_by,
    bakedAt: row.baked_at,
    bakedIdentity: row.baked_identity ?? undefined,
    bakedById: row.baked_by_id ?? undefined,
    bakedByMail: row.baked_by_mail ?? undefined,
  }
}
