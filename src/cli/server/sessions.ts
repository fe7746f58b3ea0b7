import { hostname } from 'node:os'
import type { Command } from 'commander'
import { StepError } from '../../core/errors.ts'
import type { Context } from '../../delivery/context.ts'
import type { KeptSession, SessionFilter, SessionStore } from '../../server/sessions/store.ts'
import { SERVER_FILE } from '../../server/settings/roles.ts'
import { addExample, type CommandResult, type Perform } from '../command.ts'
import { minute } from '../ledger/text.ts'
import { table } from '../output.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { addServerOption, readQueue, type ServerOption, withLedger } from './settings.ts'

interface Group {
  sessions: Command
  perform: Perform
  environment: ProcessEnvironment
}

/** `crosscloud sessions …`: who has a session with the server, and the end of it. */
export function addSessions(
  program: Command,
  perform: Perform,
  environment: ProcessEnvironment,
): void {
  const sessions = program
    .command('sessions')
    .description("Sessions of jobs and people with crosscloud's server: who has one, and its end.")
  const group = { sessions, perform, environment }
  addList(group)
  addRevoke(group)
}

interface FilterOptions extends ServerOption {
  user?: string
  project?: string
  issuer?: string
}

const addFilter = (command: Command): Command =>
  addServerOption(command)
    .option('--user <login>', 'those of jobs that this person started')
    .option('--project <path>', 'those of jobs of this project: group/project')
    .option('--issuer <url>', 'those that this issuer vouched for')

const filterOf = ({ user, project, issuer: identity }: FilterOptions): SessionFilter => ({
  ...{ user, project, identity },
})

/** Work on the sessions in the queue's Redis. */
async function withSessions(
  options: ServerOption,
  context: Context,
  { environment }: Group,
  work: (store: SessionStore) => Promise<CommandResult>,
): Promise<CommandResult> {
  const { queue, folder } = await readQueue(options, context, environment)
  const [{ openQueueRedis }, { keyPrefix }, { openSessionStore }] = await Promise.all([
    import('../../server/queue/connection.ts'),
    import('../../server/queue/access.ts'),
    import('../../server/sessions/store.ts'),
  ])
  const redis = await openQueueRedis(queue.redis, folder, context.log)
  try {
    const base = `${keyPrefix(queue.name)}:`
    return await work(openSessionStore({ client: redis.failFast, server: redis.name, base }))
  } finally {
    await redis.close()
  }
}

function addList(group: Group): void {
  const command = addFilter(
    group.sessions.command('list').description('The sessions that live, and whose they are.'),
  )
  addExample(command, 'sessions list --project team/webapi')
  command.action(async (options: FilterOptions) => {
    await group.perform(command, (context) =>
      withSessions(options, context, group, async (store) => {
        const found = await store.list(filterOf(options))
        return { json: { sessions: found.map(shown) }, text: listText(found) }
      }),
    )
  })
}

const at = (moment: number) => new Date(moment).toISOString()

const shown = ({ id, subject, project, startedAt, end }: KeptSession) => ({
  ...{ id, name: subject.name, by: subject.by, project, issuer: subject.identity },
  ...{ startedAt: at(startedAt), endsBefore: at(end) },
})

function listText(found: readonly KeptSession[]): string {
  if (found.length === 0) return 'There is no such session.'
  const rows = found.map(({ id, subject, startedAt, end }) => [
    ...[id, subject.name, subject.identity, minute(at(startedAt)), minute(at(end))],
  ])
  return table(['session', 'whose', 'issuer', 'since (UTC)', 'at most until (UTC)'], rows)
}

function addRevoke(group: Group): void {
  const command = addFilter(
    group.sessions
      .command('revoke')
      .argument('[session]', 'as `sessions list` shows it')
      .description(
        'End one session, or all that fit: they and the ID tokens that started them are refused.',
      ),
  )
  addExample(command, 'sessions revoke --project team/webapi --user dev-wang')
  command.action(async (id: string | undefined, options: FilterOptions) => {
    await group.perform(command, (context) =>
      withSessions(options, context, group, async (store) => {
        const filter = { ...filterOf(options), id }
        const what = describeFilter(filter)
        const found = await store.list(filter)
        if (found.length === 0) {
          throw new StepError('NOT_FOUND', `there is no session of ${what}`, {
            hint: '`crosscloud sessions list` shows those that live.',
          })
        }
        await recordRevocation(`revoke ${count(found)} of ${what}`, options, context, group)
        const ended = await Promise.all(
          found.map(async (each) => (await store.revoke(each)) && each),
        )
        const revoked = ended.filter((each) => each !== false)
        const names = revoked.map(({ subject }) => `  ${subject.name}`)
        const text = [`Revoked ${count(revoked)} of ${what}.`, ...names].join('\n')
        return { json: { revoked: revoked.map(shown) }, text }
      }),
    )
  })
}

const count = ({ length }: readonly unknown[]) => `${length} session${length === 1 ? '' : 's'}`

/** In words; without any, nothing would be ended by mistake. */
function describeFilter({ id, user, project, identity }: SessionFilter): string {
  const given = { id, user, project, issuer: identity }
  const words = Object.entries(given).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name} ${value}`],
  )
  if (words.length > 0) return words.join(', ')
  throw new StepError('INPUT_INVALID', 'it is not said which sessions to end', {
    hint: 'Name one, or give `--user`, `--project` or `--issuer`.',
  })
}

/** Before it is done: what cannot be recorded is not done. */
async function recordRevocation(
  text: string,
  { server = SERVER_FILE }: ServerOption,
  context: Context,
  { environment }: Group,
): Promise<void> {
  const by = { subject: context.actor.by, via: 'cli', address: hostname() } as const
  await withLedger({ server }, context, environment, (ledger) =>
    ledger.recordAudit({ ...by, verb: 'admin', object: { text }, decision: 'allowed' }),
  )
}
