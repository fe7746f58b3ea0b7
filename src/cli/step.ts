import { type Command, Option } from 'commander'
import { StepError } from '../core/errors.ts'
import type { Plan } from '../delivery/plan/schema.ts'
import { isPlanned, planStep, runStep } from '../steps/inputs.ts'
import type { Step } from '../steps/step.ts'
import { addExample, type CommandResult, type CommandWork, type Perform } from './command.ts'
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
  if (step.plan) {
    command.addOption(new Option('--markdown <file>', 'write the plan to a new file, as Markdown'))
  }
  addExample(command, step.example)
  command.action(async () => {
    const inputs = gatherInputs(step, command.opts(), command.args[0], variables)
    const { [step.environmentInput ?? 'env']: named } = inputs
    const environment = typeof named === 'string' ? named : undefined
    if (isPlanned(step, inputs)) {
      const { planOutputs } = await import('../steps/plan.ts')
      const reported = { environment, outputs: planOutputs, readOnly: true }
      const work: CommandWork = async (context) => showPlan(await planStep(step, inputs, context))
      await perform(command, work, reported)
      return
    }
    refuseMarkdown(command)
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

async function showPlan(plan: Plan): Promise<CommandResult> {
  const [{ planFailure }, { planLines }, { planMarkdown }] = await Promise.all([
    import('../surface/plan-words.ts'),
    import('../surface/plan-text.ts'),
    import('../surface/plan-markdown.ts'),
  ])
  const failure = planFailure(plan)
  const result = { json: plan, text: planLines(plan).join('\n'), markdown: planMarkdown(plan) }
  return failure ? { ...result, failure } : result
}

function refuseMarkdown(command: Command): void {
  if (command.opts().markdown === undefined) return
  throw new StepError('INPUT_INVALID', '`--markdown` is for a plan', { hint: 'Add `--plan`.' })
}
