import type { Command } from 'commander'
import { environmentOrder, resolveEnvironment } from '../../settings.ts'
import { addExample, type Perform } from '../command.ts'
import { table } from '../output.ts'

/** What a pipeline is made from: where a release goes, in which order, and who is asked before. */
export function addEnvironments(program: Command, perform: Perform): void {
  const command = program
    .command('environments')
    .description('The environments of crosscloud.yml, in the order in which a release goes there.')
  addExample(command, 'environments --json')
  command.action(async () => {
    await perform(command, async (context) => {
      const settings = await context.settings()
      const { app, identity } = settings
      const environments = environmentOrder(settings.environments).map((name) => {
        const { from = null, url = null, gate } = resolveEnvironment(settings, name)
        const approvals = gate?.approvals ?? 0
        return { name, from, url, gated: gate !== undefined, approvals }
      })
      const signed = typeof identity === 'object'
      const rows = environments.map(({ name, from, url, gated, approvals }) => [
        ...[name, from ?? '', gated ? `${approvals} approvals` : '', url ?? ''],
      ])
      const text = table(['environment', 'from', 'gate', 'address'], rows)
      return { json: { app, identity: signed ? 'signed' : (identity ?? null), environments }, text }
    })
  })
}
