import type { Kysely } from 'kysely'
import { errorCodeOf, StepError } from '../../core/errors.ts'
import { CHAIN_START } from '../audit-chain.ts'
import type { Ledger } from '../ledger.ts'
import type { Access, Dialect } from './access.ts'
import type { Counter, Schema } from './schema.ts'

/**
 * What no account may do to a row, whatever it is granted: a trigger stops it. What an account may
 * not do at all is no guard's business but its grants' (docs/ledger-database.md).
 */
interface Guard {
  table: string
  on: 'insert' | 'update' | 'delete'
  /** SQL of `old` and `new` that is true for what is refused. */
  refuses(differ: (columns: readonly string[]) => string): string
  /** The trigger's message; part of the released schema. */
  message: string
}

type Guards = Readonly<Record<string, Guard>>

const FACTS = [
  ...['id', 'number', 'app', 'environment', 'version', 'digest', 'config_revision', 'started_by'],
  ...['reason', 'started_at', 'kind', 'lock_token', 'replaced', 'identity', 'job_url', 'forced'],
]

/** The state of the deployment that a row which comes in is about. */
const STATE = '(select state from deployments where id = new.deployment)'

const RUNS_THERE = `exists (select 1 from deployments where number = new.number
  and app = new.app and environment = new.environment and state = 'succeeded')`

/** What is in the order of its numbers, and the counter that each has them from. */
const COUNTED = {
  releases: 'release',
  deployments: 'deployment',
  config_changes: 'config-change',
  approvals: 'approval',
  marks: 'mark',
  audit_events: 'audit-event',
} as const satisfies Partial<Record<keyof Schema, Counter>>

/** A row with a number of the future would come after all that is recorded honestly from now on. */
const counted = Object.entries(COUNTED).map(([table, counter]): [string, Guard] => [
  `${table}_counted`,
  {
    table,
    on: 'insert',
    refuses: () =>
      `new.number > coalesce((select value from counters where name = '${counter}'), 0)`,
    message: 'a number is taken from its counter',
  },
])

const TOKEN_FACTS = [
  ...['number', 'name', 'token_hash', 'verbs', 'apps', 'environments'],
  ...['created_by', 'created_at', 'expires_at', 'key_thumbprint'],
]

/** The audit log, and the tokens that are created and revoked by records in it. */
export const auditGuards: Guards = {
  audit_log_chained: {
    table: 'audit_log',
    on: 'insert',
    refuses: () => `case when new.number = 1 then new.prev <> '${CHAIN_START}' else not exists (
      select 1 from audit_log where number = new.number - 1 and hash = new.prev) end`,
    message: 'a record of the audit log is chained to the one before it',
  },
  ...kept('audit_log', 'the audit log is only ever added to', ['update', 'delete']),
  audit_head_forward: {
    table: 'audit_head',
    on: 'update',
    refuses: (differ) => `${differ(['name'])} or not (
      new.number = old.number and new.hash = old.hash or new.number > old.number and exists (
      select 1 from audit_log where number = new.number and hash = new.hash))`,
    message: 'the head of the audit log only goes forward, to a record in it',
  },
  ...kept('audit_head', 'the audit log has one head', ['delete']),
  api_tokens_recorded: {
    table: 'api_tokens',
    on: 'insert',
    refuses: () =>
      `not exists (select 1 from audit_log where number = new.number and verb = 'tokens')`,
    message: 'a token is created by a record in the audit log',
  },
  api_tokens_forward: {
    table: 'api_tokens',
    on: 'update',
    refuses: (differ) => `${differ(TOKEN_FACTS)}
      or old.revoked_at is not null and (${differ(['revoked_at', 'revoked_by'])})
      or old.last_used_at is not null and coalesce(new.last_used_at, '') < old.last_used_at`,
    message: 'what a token may does not change, and a revoked token stays revoked',
  },
  ...kept('api_tokens', 'a token is revoked, not removed', ['delete']),
}

/** Nobody may do this to any row. */
function kept(
  table: string,
  message: string,
  acts: readonly ('update' | 'delete')[],
): Record<string, Guard> {
  const never = (on: Guard['on']): Guard => ({ table, on, refuses: () => '1 = 1', message })
  return Object.fromEntries(acts.map((on) => [`${table}_no_${on}`, never(on)]))
}

export const historyGuards: Guards = {
  ...Object.fromEntries(counted),
  deployments_forward: {
    table: 'deployments',
    on: 'update',
    refuses: (differ) => `${differ(FACTS)} or not (
      old.state = 'running' and new.state in ('succeeded', 'failed', 'abandoned')
      or old.state = 'abandoned' and new.state in ('succeeded', 'failed'))`,
    message: 'a deployment ends once, and what it was does not change',
  },
  deployment_hosts_open: {
    table: 'deployment_hosts',
    on: 'insert',
    refuses: () => `coalesce(${STATE}, '') not in ('running', 'abandoned')`,
    message: 'a deployment that has ended gets no more hosts',
  },
  deployment_approvals_open: {
    table: 'deployment_approvals',
    on: 'insert',
    refuses: () => `coalesce(${STATE}, '') <> 'running'`,
    message: 'a deployment that has ended gets no more approvals',
  },
  current_deployments_true: {
    table: 'current_deployments',
    on: 'insert',
    refuses: () => `not ${RUNS_THERE}`,
    message: 'only a deployment that succeeded there runs there',
  },
  current_deployments_forward: {
    table: 'current_deployments',
    on: 'update',
    refuses: (differ) => `${differ(['app', 'environment'])} or new.number < old.number
      or not ${RUNS_THERE}`,
    message: 'only a newer deployment that succeeded there takes the place of one',
  },
  counters_forward: {
    table: 'counters',
    on: 'update',
    refuses: (differ) => `${differ(['name'])} or new.value < old.value`,
    message: 'a counter only grows',
  },
}

/** Makes those that are missing. */
export async function createGuards(
  db: Kysely<unknown>,
  dialect: Dialect,
  guards: Guards = { ...historyGuards, ...auditGuards },
): Promise<void> {
  const { sql } = await import('kysely')
  for (const [name, guard] of Object.entries(guards)) {
    try {
      await sql.raw(trigger[dialect](name, guard)).execute(db)
    } catch (error) {
      if (errorCodeOf(error) !== 'ER_TRG_ALREADY_EXISTS') throw error
    }
  }
}

const trigger: Record<Dialect, (name: string, guard: Guard) => string> = {
  mysql: (name, { table, on, refuses, message }) =>
    `create trigger ${name} before ${on} on ${table} for each row begin
      if ${refuses((columns) => differing(columns, (a, b) => `not (${a} <=> ${b})`))}
      then signal sqlstate '45000' set message_text = '${message}'; end if; end`,
  sqlite: (name, { table, on, refuses, message }) =>
    `create trigger if not exists ${name} before ${on} on ${table}
      when ${refuses((columns) => differing(columns, (a, b) => `${a} is not ${b}`))}
      begin select raise(abort, '${message}'); end`,
}

function differing(columns: readonly string[], differs: (a: string, b: string) => string) {
  return columns.map((column) => differs(`old.${column}`, `new.${column}`)).join(' or ')
}

/** Why an account cannot make triggers; undefined when that is not what went wrong. */
export function guardRefusal(error: unknown): string | undefined {
  switch (errorCodeOf(error)) {
    case 'ER_TABLEACCESS_DENIED_ERROR':
    case 'ER_DBACCESS_DENIED_ERROR':
      return 'Grant it TRIGGER on the database (docs/ledger-database.md), then run `crosscloud ledger migrate` with it.'
    case 'ER_BINLOG_CREATE_ROUTINE_NEED_SUPER':
      return 'The binary log is on there: let an administrator run `set global log_bin_trust_function_creators = 1`, then run `crosscloud ledger migrate` again.'
    default:
      return undefined
  }
}

export function createGuarding(
  { write }: Access,
  { name, dialect }: { name: string; dialect: Dialect },
): Pick<Ledger, 'guard'> {
  return {
    async guard() {
      await write('guarding the ledger', async (trx) => {
        await createGuards(trx as unknown as Kysely<unknown>, dialect).catch((error: unknown) => {
          const hint = guardRefusal(error)
          if (hint === undefined) throw error
          const message = `${name} has the newest tables, but whoever deploys could rewrite them: this account may not make the triggers that forbid it`
          throw new StepError('UNAUTHORIZED', message, { hint, cause: error })
        })
      })
    },
  }
}
