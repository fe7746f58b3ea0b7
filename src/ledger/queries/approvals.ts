import type { Selectable, Transaction } from 'kysely'
import { type Digest, parseDigest } from '../../core/digest.ts'
import { StepError } from '../../core/errors.ts'
import { hashOfToken } from '../../core/token-hash.ts'
import { type Access, holdApplication, nextNumber, timestamp } from '../database/access.ts'
import {
  checkFilled,
  checkName,
  checkPlace,
  checkText,
  checkVersion,
  invalid,
} from '../database/names.ts'
import type { ApprovalsTable, Schema } from '../database/schema.ts'
import {
  type Approval,
  type ApprovalProof,
  type ApprovalStart,
  approvalDecisions,
  type Ledger,
} from '../ledger.ts'
import { approvalId } from './deployment-rows.ts'
import { digestOf } from './releases.ts'

type Approvals = Pick<Ledger, 'recordApproval' | 'approvals' | 'provenApprovals'>

/** Decisions about a release. Only `apart` writes approvals and reads their proofs. */
export function createApprovals({ read, now }: Access, apart: Access): Approvals {
  return {
    async recordApproval(approval, proof) {
      checkApproval(approval, proof)
      const { app, environment, version, digest } = approval
      const what = `recording the decision of ${approval.by} on ${app}@${version}`
      return await apart.write(what, async (trx) => {
        await holdApplication(trx, app, now())
        const known = await digestOf(trx, approval)
        if (known !== digest) throw isNotThat(approval, known)
        const recorded = await recordedWith(trx, approval)
        if (recorded) return recorded
        const row = {
          number: await nextNumber(trx, 'approval'),
          app,
          environment,
          version,
          digest,
          decision: approval.decision,
          decided_by: approval.by,
          member_of: JSON.stringify(approval.groups),
          identity: approval.identity,
          reason: approval.reason ?? null,
          decided_at: timestamp(now()),
          decided_by_id: approval.byId ?? null,
          decided_by_mail: approval.byMail ?? null,
          token_hash: approval.tokenHash ?? null,
          config_revision: approval.configRevision ?? null,
        }
        await trx.insertInto('approvals').values(row).execute()
        if (proof) await keepProof(trx, row.number, proof)
        return fromApprovalRow(row)
      })
    },

    async provenApprovals(app, environment, version) {
      checkPlace(app, environment, version)
      const what = `reading what proves the approvals of ${app}@${version}`
      const rows = await apart.read(what, (db) =>
        db
          .selectFrom('approvals')
          .leftJoin('approval_tokens', 'approval_tokens.approval', 'approvals.number')
          .selectAll('approvals')
          .select(['approval_tokens.token', 'approval_tokens.public_key'])
          .where('app', '=', app)
          .where('environment', '=', environment)
          .where('version', '=', version)
          .orderBy('number')
          .execute(),
      )
      return rows.map(({ token, public_key: publicKey, ...row }) => ({
        approval: fromApprovalRow(row),
        proof: token === null || publicKey === null ? undefined : { token, publicKey },
      }))
    },

    async approvals(app, environment, version) {
      checkName('application', app)
      checkVersion(version)
      if (environment !== undefined) checkName('environment', environment)
      const rows = await read(`reading the approvals of ${app}@${version}`, (db) => {
        let query = db
          .selectFrom('approvals')
          .selectAll()
          .where('app', '=', app)
          .where('version', '=', version)
          .orderBy('number')
        if (environment !== undefined) query = query.where('environment', '=', environment)
        return query.execute()
      })
      return rows.map(fromApprovalRow)
    },
  }
}

async function keepProof(
  trx: Transaction<Schema>,
  approval: number,
  { token, publicKey }: ApprovalProof,
): Promise<void> {
  const row = { approval, token, public_key: publicKey }
  await trx.insertInto('approval_tokens').values(row).execute()
}

/** The decision recorded with this token: the same again is the same; another decision is refused. */
async function recordedWith(
  trx: Transaction<Schema>,
  approval: ApprovalStart,
): Promise<Approval | undefined> {
  if (approval.tokenHash === undefined) return undefined
  const row = await trx
    .selectFrom('approvals')
    .selectAll()
    .where('token_hash', '=', approval.tokenHash)
    .executeTakeFirst()
  if (!row) return undefined
  const known = fromApprovalRow(row)
  const same = (
    ['app', 'environment', 'version', 'digest', 'decision', 'configRevision'] as const
  ).every((fact) => known[fact] === approval[fact])
  if (same) return known
  const { by, decision, app, version, environment } = known
  throw new StepError(
    'CONFLICT',
    `the token of this job has been used: ${by} ${decision} ${app}@${version} for ${environment} with it`,
    { hint: 'Each job decides once. Start another one.' },
  )
}

function checkApproval(approval: ApprovalStart, proof: ApprovalProof | undefined): void {
  const { app, environment, version, digest, decision, by, groups, identity, reason } = approval
  checkPlace(app, environment, version)
  const what = `the approval of ${app}@${version} for ${environment}`
  parseDigest(digest, `${what}: digest`)
  if (!approvalDecisions.includes(decision)) throw invalid(`${what}: "${decision}" is no decision`)
  checkFilled(`${what}: by`, by, 255)
  checkFilled(`${what}: identity`, identity, 255)
  checkText(`${what}: reason`, reason)
  checkText(`${what}: id`, approval.byId, 64)
  checkText(`${what}: mail`, approval.byMail, 255)
  checkText(`${what}: hash of the token`, approval.tokenHash, 64)
  if (proof && hashOfToken(proof.token) !== approval.tokenHash) {
    throw invalid(`${what}: the hash is not that of its token`)
  }
  checkText(`${what}: config revision`, approval.configRevision, 128)
  for (const group of groups) checkFilled(`${what}: group`, group, 1024)
}

function isNotThat({ app, version, digest }: ApprovalStart, known: string | undefined): StepError {
  if (known === undefined) {
    return new StepError('NOT_FOUND', `${app}@${version} is not in the ledger`, {
      hint: '`crosscloud history` shows the releases there are.',
    })
  }
  return new StepError('CONFLICT', `${app}@${version} is recorded with ${known}, not ${digest}`, {
    hint: 'Approve the image of the release, by the digest it was recorded with.',
  })
}

function fromApprovalRow(row: Selectable<ApprovalsTable>): Approval {
  return {
    id: approvalId(row.number),
    app: row.app,
    environment: row.environment,
    version: row.version,
    digest: row.digest as Digest,
    decision: row.decision,
    by: row.decided_by,
    byId: row.decided_by_id ?? undefined,
    byMail: row.decided_by_mail ?? undefined,
    groups: JSON.parse(row.member_of) as string[],
    identity: row.identity,
    tokenHash: row.token_hash ?? undefined,
    configRevision: row.config_revision ?? undefined,
    reason: row.reason ?? undefined,
    at: row.decided_at,
  }
}
