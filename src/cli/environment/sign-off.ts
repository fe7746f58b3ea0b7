import type { Command } from 'commander'
import { signOff } from '../../delivery/gate/break-glass.ts'
import { formatRelease } from '../../delivery/release-name.ts'
import { addExample, type Perform, requireText } from '../command.ts'

interface SignOffOptions {
  env?: string
  reason?: string
}

/** A second person looks at what was done past a gate, and signs it. */
export function addSignOff(program: Command, perform: Perform): void {
  const command = program
    .command('sign-off')
    .argument('<deployment>', 'one that went past the gate: d12')
    .description('Say, as a second person, that what was done with --break-glass was looked at.')
    .option('--env <name>', 'environment whose gate it went past')
    .option('--reason <text>', 'what was found; it is written into the ledger')
  addExample(command, 'sign-off d12 --env production --reason "the shop was down, looks right"')
  command.action(async (id: string, options: SignOffOptions) => {
    const env = requireText(options.env, '--env')
    const reason = requireText(options.reason, '--reason')
    await perform(
      command,
      async (context) => {
        const environment = await context.environment(env)
        const { deployment, signedOff } = await signOff(id, environment, reason, context)
        const { by, identity, at } = signedOff
        const proof = identity === 'unverified' ? 'identity not verified' : `signed by ${identity}`
        return {
          json: { deployment: deployment.id, environment: env, by, identity, at },
          text: `${by} signed off ${deployment.id}, ${formatRelease(deployment)} in ${env}, at ${at} (${proof}).`,
        }
      },
      { environment: env },
    )
  })
}
