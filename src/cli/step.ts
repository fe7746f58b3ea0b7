import type { Command } from 'commander'
import { runStep } from '../steps/inputs.ts'
import type { Step } from '../steps/step.ts'
import { addExample, type Perform } from './command.ts'
import { addInputOptions, gatherInputs } from './options.ts'
import type { ProcessEnvironment } from './process-environment.ts'

/** A step as a command: its inputs are flags, its report is what the command prints. */
export function addStep(
  step: Step,
  program: Command,
  perform: Perform,
  { variables }: ProcessEnvironment,
): void {
  const command = program.command(step.name).description(step.summary)
  addInputOptions(command, step)
  addExample(command, step.example)
  command.action(async () => {
    const inputs = gatherInputs(step, command.opts(), command.args[0], variables)
    const { [step.environmentInput ?? 'env']: named } = inputs
    const environment = typeof named === 'string' ? named : undefined
    await perform(
      command,
      async (context) => {
        const outputs = await runStep(step, inputs, context)
        return { json: outputs, text: step.report(outputs).join('\n') }
      },
      { environment, outputs: step.outputs },
    )
  })
}
