import type { Kysely, Selectable } from 'kysely'
import { StepError } from '../../core/errors.ts'
import { type Access, timestamp } from '../database/access.ts'
import type { ApiTokensTable } from '../database/audit-schema.ts'
import { checkFilled, checkName, checkTime, invalid } from '../database/names.ts'
import type { Schema } from '../database/schema.ts'
import type { ApiToken, ApiTokenStart, ApiTokens, TokenScope } from '../records/api-token.ts'
import type { AuditBy, AuditStart } from '../records/audit-record.ts'
import { appendAudit, holdHead, readEntry } from './audit-log.ts'

type Row = Selectable<ApiTokensTable>

/** A leap year has a day more. */
const LONGEST_LIFE = 366 * 24 * 3_600_000
const USE_NOTED_EVERY = 60_000

/** A creation and a revocation take the head of the audit log first, and so wait for all others. */
export function createApiTokens({ read, write, now }: Access): ApiTokens {
  return {
    async recordToken(token, by) {
      checkToken(token, now())
      const entry = readEntry(entryOf(by, `create API token ${token.name}: ${scopeText(token)}`))
      return await write(`creating API token ${token.name}`, async (trx) => {
        const at = timestamp(now())
        const { number, subject } = await appendAudit(trx, entry, at)
        const known = await newest(trx, token.name)
        if (known && stateOf(known, now()) === 'living') throw isTaken(known)
        const row = toRow(token, { number, created_by: subject, created_at: at })
        await trx.insertInto('api_tokens').values(row).execute()
        return fromRow(row, now())
      })
    },

    async findToken(hash) {
      const row = await read('looking up an API token', (db) => byHash(db, hash))
      return row && fromRow(row, now())
    },

    async useToken(hash) {
      const row = await read('looking up an API token', (db) => byHash(db, hash))
      if (!row || stateOf(row, now()) !== 'living') return undefined
      const last_used_at = timestamp(now())
      const stale = timestamp(now() - USE_NOTED_EVERY)
      if (row.last_used_at !== null && row.last_used_at > stale) return fromRow(row, now())
      await write(`noting the use of API token ${row.name}`, async (trx) => {
        await trx
          .updateTable('api_tokens')
          .set({ last_used_at })
          .where('number', '=', row.number)
          .where((it) => it.or([it('last_used_at', 'is', null), it('last_used_at', '<=', stale)]))
          .execute()
      })
      return fromRow({ ...row, last_used_at }, now())
    },

    async tokens() {
      const rows = await read('reading the API tokens', (db) =>
        db.selectFrom('api_tokens').selectAll().orderBy('number', 'desc').execute(),
      )
      return rows.map((row) => fromRow(row, now()))
    },

    async revokeToken(name, by) {
      checkName('API token', name)
      const entry = readEntry(entryOf(by, `revoke API token ${name}`))
      return await write(`revoking API token ${name}`, async (trx) => {
        await holdHead(trx)
        const known = await newest(trx, name)
        if (!known) throw isUnknown(name)
        if (known.revoked_at !== null) return fromRow(known, now())
        const revoked_at = timestamp(now())
        const { subject: revoked_by } = await appendAudit(trx, entry, revoked_at)
        await trx
          .updateTable('api_tokens')
          .set({ revoked_at, revoked_by })
          .where('number', '=', known.number)
          .execute()
        return fromRow({ ...known, revoked_at, revoked_by }, now())
      })
    },
  }
}

const entryOf = (by: AuditBy, text: string): AuditStart => ({
  ...by,
  verb: 'tokens',
  object: { text },
  decision: 'allowed',
})

const scopeText = ({ scope: { verbs, apps, envs }, expiresAt, key }: ApiTokenStart) => {
  const bound = key === undefined ? '' : `, bound to key ${key}`
  return `${verbs.join(', ')} of ${apps.join(', ')} in ${envs.join(', ')} until ${expiresAt}${bound}`
}

function checkToken({ name, hash, scope, expiresAt, key }: ApiTokenStart, now: number): void {
  checkName('API token', name)
  if (key !== undefined && !/^[\w-]{43}$/.test(key)) {
    throw invalid('a key is named by its thumbprint: `crosscloud agent --key` prints it')
  }
  if (!/^[0-9a-f]{64}$/.test(hash)) throw invalid('an API token is kept by its SHA-256 alone')
  checkTime('the expiry', expiresAt)
  const life = Date.parse(expiresAt) - now
  if (life <= 0) throw invalid(`the API token would have expired already, at ${expiresAt}`)
  if (life > LONGEST_LIFE) throw invalid('an API token lives a year at the most')
  for (const verb of scope.verbs) checkFilled('a verb', verb, 64)
  if (!isAll(scope.apps)) for (const app of scope.apps) checkName('application', app)
  if (!isAll(scope.envs)) for (const env of scope.envs) checkName('environment', env)
  for (const [what, names] of Object.entries(scope)) {
    if (names.length === 0) throw invalid(`API token ${name}: ${what} is empty`)
    if (new Set(names).size < names.length)
      throw invalid(`API token ${name}: ${what} repeats a name`)
  }
}

/** `*` stands alone: with a name beside it, it would not be seen. */
const isAll = (names: readonly string[]) => names.length === 1 && names[0] === '*'

async function byHash(db: Kysely<Schema>, hash: string): Promise<Row | undefined> {
  return await db
    .selectFrom('api_tokens')
    .selectAll()
    .where('token_hash', '=', hash)
    .executeTakeFirst()
}

async function newest(db: Kysely<Schema>, name: string): Promise<Row | undefined> {
  return await db
    .selectFrom('api_tokens')
    .selectAll()
    .where('name', '=', name)
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst()
}

function toRow(
  { name, hash, scope, expiresAt, key }: ApiTokenStart,
  made: Pick<Row, 'number' | 'created_by' | 'created_at'>,
): Row {
  return {
    ...made,
    name,
    token_hash: hash,
    verbs: JSON.stringify(scope.verbs),
    apps: JSON.stringify(scope.apps),
    environments: JSON.stringify(scope.envs),
    expires_at: expiresAt,
    revoked_at: null,
    revoked_by: null,
    last_used_at: null,
    key_thumbprint: key ?? null,
  }
}

function fromRow(row: Row, now: number): ApiToken {
  const names = (text: string): TokenScope[keyof TokenScope] => JSON.parse(text)
  return {
    number: row.number,
    name: row.name,
    scope: { verbs: names(row.verbs), apps: names(row.apps), envs: names(row.environments) },
    key: row.key_thumbprint ?? undefined,
    createdBy: row.created_by,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at ?? undefined,
    revokedBy: row.revoked_by ?? undefined,
    lastUsedAt: row.last_used_at ?? undefined,
    state: stateOf(row, now),
  }
}

function stateOf({ revoked_at, expires_at }: Row, now: number): ApiToken['state'] {
  if (revoked_at !== null) return 'revoked'
  return Date.parse(expires_at) > now ? 'living' : 'expired'
}

function isTaken({ name, created_by, expires_at }: Row): StepError {
  return new StepError(
    'CONFLICT',
    `API token ${name} is there: of ${created_by}, until ${expires_at}`,
    { hint: `Take another name, or run \`crosscloud tokens revoke ${name}\` first.` },
  )
}

function isUnknown(name: string): StepError {
  return new StepError('NOT_FOUND', `there is no API token ${name}`, {
    hint: 'Run `crosscloud tokens list`.',
  })
}
