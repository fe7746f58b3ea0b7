import { hostname } from 'node:os'
import type { Command } from 'commander'
import { StepError } from '../../core/errors.ts'
import { duration } from '../../core/settings/schema.ts'
import type { Context } from '../../delivery/context.ts'
import { newApiToken } from '../../ledger/api-token.ts'
import type { ApiToken, AuditBy } from '../../ledger/ledger.ts'
import { isVerb, verbs } from '../../policy/verbs.ts'
import { addExample, type CommandResult, type Perform, requireText } from '../command.ts'
import { table } from '../output.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { addLedgerOption, isGranted, type LedgerOption, withLedger } from '../server/settings.ts'
import { minute } from './text.ts'

interface CreateOptions extends LedgerOption {
  verb?: string[]
  app?: string[]
  env?: string[]
  expires?: string
  key?: string
}

/** `crosscloud tokens …`: API tokens of the server, for who has no signed identity. */
export function addTokens(
  program: Command,
  perform: Perform,
  environment: ProcessEnvironment,
): void {
  const tokens = program
    .command('tokens')
    .description("API tokens for crosscloud's server: what each may, where and until when.")
  addCreate(tokens, perform, environment)
  addList(tokens, perform, environment)
  addRevoke(tokens, perform, environment)
}

const repeated = (value: string, before: string[] = []) => [...before, value]

function addCreate(tokens: Command, perform: Perform, environment: ProcessEnvironment): void {
  const command = addLedgerOption(
    tokens
      .command('create')
      .argument('<name>', 'what it is called in the audit log: jenkins')
      .description('Make an API token, and print its secret, this once and alone, on stdout.'),
  )
    .option('--verb <verb>', `what it may do, one each time: ${verbs.join(', ')}`, repeated)
    .option('--app <name>', 'application it is for, one each time; * for all', repeated)
    .option('--env <name>', 'environment it is for, one each time; * for all', repeated)
    .option('--expires <duration>', 'how long it lives: 90d, at most 365d')
    .option(
      '--key <thumbprint>',
      'key to bind it to, without which it is worth nothing: `crosscloud agent --key` prints it',
    )
  addExample(
    command,
    'tokens create jenkins --verb deploy --app webapi --env test --expires 90d > token',
  )
  command.action(async (name: string, options: CreateOptions) => {
    await perform(
      command,
      async (context): Promise<CommandResult> => {
        const scope = readScope(options)
        const expiresAt = readExpiry(options.expires)
        const { secret, hash } = newApiToken()
        const { server, key } = options
        requireKey(scope.verbs, key)
        const isUsable =
          server === undefined || (await isGranted(name, server, context, environment))
        const by = await byWhom(options, context)
        const token = await withLedger(options, context, environment, (ledger) =>
          ledger.recordToken({ name, hash, scope, expiresAt, key }, by),
        )
        const { json } = command.optsWithGlobals<{ json?: boolean }>()
        if (!json) environment.streams.stdout(`${secret}\n`)
        context.log.info(`API token ${name} lives until ${token.expiresAt}; only you have it now`)
        if (!isUsable)
          context.log.warn(`no grant of the policy names token:${name}: it may nothing`)
        return { json: { ...token, secret }, text: '', printed: true }
      },
      { aloneOnStdout: true },
    )
  })
}

function readScope({ verb = [], app = [], env = [] }: CreateOptions) {
  const empty = Object.entries({ '--verb': verb, '--app': app, '--env': env }).find(
    ([, names]) => names.length === 0,
  )
  if (empty) requireText(undefined, empty[0])
  const unknown = verb.find((name) => !isVerb(name))
  if (unknown === undefined) return { verbs: verb, apps: app, envs: env }
  throw new StepError('INPUT_INVALID', `--verb "${unknown}" is not known`, {
    hint: `Use ${verbs.join(', ')}.`,
  })
}

/** Whoever has an agent's token is handed the tokens of jobs. */
function requireKey(verbs: readonly string[], key: string | undefined): void {
  if (!verbs.includes('agent') || key !== undefined) return
  throw new StepError('INPUT_INVALID', 'a token with the verb agent is bound to a key', {
    hint: 'Run `crosscloud agent --key` on the machine of the agent, and give what it prints: `--key THUMBPRINT`.',
  })
}

function readExpiry(text: string | undefined): string {
  const parsed = duration.safeParse(requireText(text, '--expires'))
  if (parsed.success) return new Date(Date.now() + parsed.data).toISOString()
  throw new StepError('INPUT_INVALID', `--expires ${parsed.error.issues[0]?.message}`)
}

/**
 * Whoever has the ledger's own account is asked for no policy; their name is what the ledger gets. What
 * would prove it is named in crosscloud.yml, which beside a server there need not be.
 */
async function byWhom({ server }: LedgerOption, context: Context): Promise<AuditBy> {
  if (server !== undefined) return { subject: context.actor.by, via: 'cli', address: hostname() }
  const { login } = await context.identify(undefined, { required: false, strict: false })
  return { subject: login, via: 'cli', address: hostname() }
}

function addList(tokens: Command, perform: Perform, environment: ProcessEnvironment): void {
  const command = addLedgerOption(
    tokens
      .command('list')
      .description('The API tokens, newest first, and when each was last used; never a secret.'),
  ).option('--all', 'those that are revoked or have expired, too')
  addExample(command, 'tokens list --all')
  command.action(async (options: LedgerOption & { all?: boolean }) => {
    const { all = false } = options
    await perform(command, async (context) => {
      const found = await withLedger(options, context, environment, (ledger) => ledger.tokens())
      const shown = found.filter(({ state }) => all || state === 'living')
      return { json: { tokens: shown }, text: listText(shown) }
    })
  })
}

function listText(tokens: readonly ApiToken[]): string {
  if (tokens.length === 0) return 'There is no such API token.'
  const rows = tokens.map((token) => [
    ...[token.name, token.state, token.scope.verbs.join(' ')],
    ...[token.scope.apps.join(' '), token.scope.envs.join(' '), token.createdBy],
    ...[minute(token.expiresAt), token.lastUsedAt ? minute(token.lastUsedAt) : 'never'],
  ])
  const heads = ['name', 'state', 'verbs', 'applications', 'environments', 'by', 'expires (UTC)']
  return table([...heads, 'last used (UTC)'], rows)
}

function addRevoke(tokens: Command, perform: Perform, environment: ProcessEnvironment): void {
  const command = addLedgerOption(
    tokens
      .command('revoke')
      .argument('<name>', 'as `tokens list` shows it')
      .description('End an API token: it is refused from now on.'),
  )
  addExample(command, 'tokens revoke jenkins')
  command.action(async (name: string, options: LedgerOption) => {
    await perform(command, async (context) => {
      const by = await byWhom(options, context)
      const token = await withLedger(options, context, environment, (ledger) =>
        ledger.revokeToken(name, by),
      )
      const text = `API token ${name} is revoked, by ${token.revokedBy} at ${token.revokedAt}.`
      return { json: { ...token }, text }
    })
  })
}
