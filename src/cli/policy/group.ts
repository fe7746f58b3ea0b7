import type { Command } from 'commander'
import type { Policy } from '../../policy/compile.ts'
import type { PolicySettings } from '../../policy/settings.ts'
import { addExample, type CommandResult, type Perform } from '../command.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { addServerOption, readPolicy, type ServerOption } from '../server/settings.ts'

interface Group {
  policy: Command
  perform: Perform
  processEnvironment: ProcessEnvironment
}

/** `crosscloud policy …`: who may do what over HTTP, by crosscloud.server.yml. */
export function addPolicyCommands(
  program: Command,
  perform: Perform,
  processEnvironment: ProcessEnvironment,
): void {
  const policy = program
    .command('policy')
    .description('Who may do what, where, by the policy of the server.')
  const group = { policy, perform, processEnvironment }
  addCheck(group)
  addWhoMay(group)
  addTable(group)
}

interface CheckOptions extends ServerOption {
  as: string[]
  claim: string[]
  source?: string
}

const collect = (value: string, before: string[] = []) => [...before, value]

function addCheck(group: Group): void {
  const command = addServerOption(
    withQuestion(
      group.policy
        .command('check')
        .description(
          'Whether somebody may: the grant that decides, or what is missing (exit code 1).',
        ),
    ),
  )
    .option('--as <name>', 'user:zhang, group:team/qa or token:jenkins; once for each', collect)
    .option('--claim <name=value>', 'in place of --as: a claim of a job; once for each', collect)
  addExample(command, 'policy check --as user:zhang --as group:team/qa promote webapi staging')
  command.action(async (verb: string, app: string, environment: string, options: CheckOptions) => {
    await withPolicy(group, command, options, async (policy) => {
      const [{ checkPolicy }, { readQuestion, readSubject }] = await Promise.all([
        import('./check.ts'),
        import('./question.ts'),
      ])
      const subject = readSubject(options)
      return checkPolicy(policy, subject, readQuestion(verb, app, environment, options.source))
    })
  })
}

interface WhoMayOptions extends ServerOption {
  source?: string
}

function addWhoMay(group: Group): void {
  const command = addServerOption(
    withQuestion(
      group.policy
        .command('who-may')
        .description('Everybody who may, with the grants that say so.'),
    ),
  )
  addExample(command, 'policy who-may deploy webapi production')
  command.action(async (verb: string, app: string, environment: string, options: WhoMayOptions) => {
    await withPolicy(group, command, options, async (policy) => {
      const [{ listWhoMay }, { readQuestion }] = await Promise.all([
        import('./check.ts'),
        import('./question.ts'),
      ])
      return listWhoMay(policy, readQuestion(verb, app, environment, options.source))
    })
  })
}

function addTable(group: Group): void {
  const command = addServerOption(
    group.policy
      .command('table')
      .description('What each role may, and who may what in which environment.'),
  )
  addExample(command, 'policy table')
  command.action(async (options: ServerOption) => {
    await withPolicy(group, command, options, async (policy, settings) => {
      const { showTables } = await import('./table.ts')
      return showTables(policy, settings)
    })
  })
}

function withQuestion(command: Command): Command {
  return command
    .argument('<verb>', 'deploy, promote, view …; docs/policy.md lists them')
    .argument('<app>', 'application, or * for all')
    .argument('<environment>', 'environment, or * for all')
    .option('--source <environment>', 'of promote: where the release comes from; default: any')
}

async function withPolicy(
  { perform, processEnvironment }: Group,
  command: Command,
  options: ServerOption,
  work: (policy: Policy, settings: PolicySettings) => Promise<CommandResult>,
): Promise<void> {
  await perform(command, async (context) => {
    const settings = await readPolicy(options, context, processEnvironment)
    const { compilePolicy } = await import('../../policy/compile.ts')
    return work(compilePolicy(settings), settings)
  })
}
