import { once } from 'node:events'
import { type Command, Option } from 'commander'
import type { PolicySettings } from '../../policy/settings.ts'
import { type Role, roles } from '../../server/settings/roles.ts'
import type { ServerSettings } from '../../server/settings/settings.ts'
import { addExample, type Perform } from '../command.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { addServerOption, readServer, type ServerOption } from './settings.ts'

interface ServeOptions extends ServerOption {
  role: Role
  check?: boolean
}

/** The file that this process was started with: the server runs commands with the same program. */
const program = () => process.argv[1] ?? ''

export function addServe(
  parent: Command,
  perform: Perform,
  processEnvironment: ProcessEnvironment,
): void {
  const command = addServerOption(
    parent
      .command('serve')
      .description('Listen to webhooks, and start what their routes ask for, once for each event.'),
  )
    .addOption(
      new Option('--role <role>', 'take deliveries, work on events, or both')
        .choices(roles)
        .default('all'),
    )
    .option('--check', 'only read the settings and the files they name, and say what they ask for')
  addExample(command, 'serve --server crosscloud.server.yml')
  command.action(async (options: ServeOptions) => {
    await perform(command, async (context) => {
      const settings = await readServer(options, context, processEnvironment)
      const { endpointPaths } = await import('../../server/sources/endpoints.ts')
      const lines = describeServer(settings, endpointPaths(settings))
      const { log, secrets } = context
      const { variables, hangUp } = processEnvironment
      const signal = hangUp ? AbortSignal.any([context.signal, hangUp]) : context.signal
      const { role } = options
      const environment = { settings, variables, log, secrets, program: program() }
      if (options.check) {
        const { checkFiles } = await import('../../server/check.ts')
        await checkFiles(role, environment)
        const text = [`${settings.file} is sound.`, ...lines].join('\n')
        return { json: { file: settings.file, asksFor: lines }, text }
      }
      const { startServer } = await import('../../server/serve.ts')
      const server = await startServer({ ...environment, role })
      log.info(`listening on ${server.url}`)
      // The role `work` accepts no deliveries, so its log lists no addresses.
      const shown = role === 'work' ? lines.filter((line) => !line.startsWith('/')) : lines
      for (const line of shown) log.info(line)
      if (!signal.aborted) await once(signal, 'abort')
      log.info('stopping: nothing more is taken in; what is under way may end')
      await server.close()
      return { json: { url: server.url }, text: 'stopped' }
    })
  })
}

function describeServer(settings: ServerSettings, paths: readonly string[]): string[] {
  const { routes, schedules, policy, logins } = settings
  return [
    ...paths,
    ...routes.map(({ name, on, source }) => `route ${name}: ${on.join(', ')} of ${source}`),
    ...schedules.map(({ name, cron, zone, run }) => `schedule ${name}: ${run} at ${cron} ${zone}`),
    ...Object.entries(logins?.issuers ?? {}).map(
      ([name, { issuer }]) => `login ${name}: people of ${issuer}`,
    ),
    ...(policy ? [policyLine(policy)] : []),
  ]
}

const policyLine = ({ grants, tests }: PolicySettings) =>
  `policy: ${counted(grants, 'grant')}, ${counted(tests, 'test')}`

const counted = ({ length }: readonly unknown[], what: string) =>
  length === 1 ? `1 ${what}` : `${length} ${what}s`
