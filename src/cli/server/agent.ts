import { resolve } from 'node:path'
import type { Command } from 'commander'
import { isServerUrl, withoutSlash } from '../../api/settings.ts'
import { StepError } from '../../core/errors.ts'
import { stateFolder } from '../../core/files/folders.ts'
import { addExample, type Perform } from '../command.ts'
import { programVersion } from '../definition.ts'
import type { ProcessEnvironment } from '../process-environment.ts'

const FILE = 'crosscloud.agent.yml'

interface AgentOptions {
  server?: string
  file: string
  key?: boolean
  check?: boolean
}

export function addAgent(
  parent: Command,
  perform: Perform,
  processEnvironment: ProcessEnvironment,
): void {
  const command = parent
    .command('agent')
    .description(
      'Ask a server for runs, and carry them out here, where the hosts are: for networks that let nobody in.',
    )
    .option('--server <url>', `server to ask for work (default: server of ${FILE})`)
    .option('--file <file>', 'settings of the agent', FILE)
    .option('--key', 'only print the thumbprint of its key, for `crosscloud tokens create`')
    .option('--check', 'only read the settings, and say what they allow')
  addExample(command, 'agent --server https://crosscloud.example.com')
  command.action(async (options: AgentOptions) => {
    await perform(command, async ({ cwd, log, secrets, signal: stop }) => {
      const { variables, hangUp } = processEnvironment
      const { openAgentKey } = await import('../../agent/key.ts')
      const state = resolve(cwd, stateFolder(variables))
      if (options.key) {
        const { thumbprint } = await openAgentKey(state)
        return { json: { thumbprint }, text: thumbprint }
      }
      const { readAgentSettings } = await import('../../agent/settings.ts')
      const server = options.server === undefined ? undefined : readUrl(options.server)
      const path = resolve(cwd, options.file)
      const settings = await readAgentSettings(path, variables, secrets, server)
      const { file, policy } = settings
      const applications = Object.keys(settings.applications)
      if (options.check) {
        const grants = policy.grants.length
        const text = `${file} is sound.\nserver: ${settings.server.url}\napplications: ${applications.join(', ')}\ngrants of its policy: ${grants}`
        return { json: { file, server: settings.server.url, applications, grants }, text }
      }
      const { runAgent } = await import('../../agent/agent.ts')
      const key = await openAgentKey(state)
      const signal = hangUp ? AbortSignal.any([stop, hangUp]) : stop
      const program = process.argv[1] ?? ''
      const version = await programVersion()
      log.info(`asking ${settings.server.url} for work on ${applications.join(', ')}`)
      await runAgent({ settings, key, version, program, variables, log, secrets, signal })
      return { json: { server: settings.server.url }, text: 'stopped' }
    })
  })
}

function readUrl(text: string): string {
  if (isServerUrl(text)) return withoutSlash(text)
  throw new StepError(
    'INPUT_INVALID',
    `--server ${JSON.stringify(text)} is not the address of a server`,
    {
      hint: 'Write https://crosscloud.example.com (http only for loopback).',
    },
  )
}
