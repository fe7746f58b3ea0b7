import type { Command } from 'commander'
import { StepError } from '../core/errors.ts'
import type { Context } from '../delivery/context.ts'
import type { SetUp } from '../gitlab/apply.ts'
import { type Action, actionLines } from '../gitlab/plan.ts'
import { addExample, type Perform } from './command.ts'
import type { ProcessEnvironment } from './process-environment.ts'
import { agree, type Terminal } from './terminal.ts'

interface PlanOptions {
  prune?: boolean
  secrets?: boolean
  yes?: boolean
}

const TOKEN = 'GITLAB_TOKEN'

/** `crosscloud gitlab …`: from crosscloud.yml to the project's settings there. */
export function addGitlabCommands(
  program: Command,
  perform: Perform,
  { person }: Pick<ProcessEnvironment, 'person'>,
): void {
  const gitlab = program
    .command('gitlab')
    .description('Set the project on GitLab up: environments, protection, variables, webhook.')
  addPlan(gitlab, perform)
  addApply(gitlab, perform, person)
}

const common = (command: Command) =>
  command
    .option('--prune', 'delete what crosscloud made there and nobody asks for any more')
    .option('--secrets', 'set secrets again that GitLab does not tell, such as the webhook’s')

function addPlan(gitlab: Command, perform: Perform): void {
  const command = common(
    gitlab.command('plan').description('Show what would be changed there; change nothing.'),
  )
  addExample(command, 'gitlab plan')
  command.action(async (options: PlanOptions) => {
    await perform(command, async (context) => {
      const plan = await readPlan(options, context)
      return { json: toJson(plan), text: [...planLines(plan), closing(plan.actions)].join('\n') }
    })
  })
}

function addApply(gitlab: Command, perform: Perform, terminal: Terminal): void {
  const command = common(
    gitlab.command('apply').description('Make the project there what crosscloud.yml says.'),
  ).option('--yes', 'do not ask')
  addExample(command, 'gitlab apply')
  command.action(async (options: PlanOptions) => {
    await perform(command, async (context) => {
      const plan = await readPlan(options, context)
      for (const line of planLines(plan)) context.log.info(line)
      const { project } = await gitlabOf(context)
      if (plan.actions.length > 0) {
        await agree(terminal, `Do this in ${project}?`, options.yes ?? false)
      }
      let done = 0
      await plan
        .apply(() => {
          done++
        })
        .catch((error: unknown) => {
          context.log.warn(`${done} of ${plan.actions.length} are done; run it again to go on`)
          throw error
        })
      const text = done === 0 ? `${project} is as it shall be.` : `${project}: ${count(done)} done.`
      return { json: toJson(plan), text }
    })
  })
}

async function gitlabOf(context: Context) {
  const { gitlab, file } = await context.settings()
  if (gitlab) return gitlab
  throw new StepError('INPUT_INVALID', `${file} says nothing of GitLab`, {
    hint: 'Write gitlab: { url, project, … }. docs/gitlab.md explains it.',
  })
}

async function readPlan({ prune, secrets }: PlanOptions, context: Context): Promise<SetUp> {
  const settings = await gitlabOf(context)
  const { environments } = await context.settings()
  const token = context.variable(TOKEN)
  if (!token) {
    throw new StepError('UNAUTHORIZED', `${TOKEN} is not set`, {
      hint: 'Give a token with scope api, of a maintainer of the project.',
    })
  }
  context.secrets.add(token)
  for (const { value, masked } of Object.values(settings.variables)) {
    if (masked) context.secrets.add(value)
  }
  const { planSetUp } = await import('../gitlab/apply.ts')
  return await planSetUp({
    settings,
    environments: Object.entries(environments).map(([name, { url }]) => ({ name, url })),
    access: { http: await context.http('gitlab', settings.ca), token, signal: context.signal },
    prune: prune ?? false,
    secrets: secrets ?? false,
  })
}

function planLines({ actions, notices }: SetUp): string[] {
  return [...actions.flatMap(actionLines), ...notices.map((notice) => `! ${notice}`)]
}

const count = (actions: number) => (actions === 1 ? '1 change' : `${actions} changes`)

function closing(actions: readonly Action[]): string {
  return actions.length === 0 ? 'Nothing to change.' : `${count(actions.length)} to make.`
}

function toJson({ actions, notices }: SetUp): Record<string, unknown> {
  const planned = actions.map((action) => {
    const { kind, name } = action.do === 'delete' ? action.actual : action.resource
    const changes = action.do === 'change' ? action.changes : []
    return { do: action.do, kind, name, changes }
  })
  return { actions: planned, notices }
}
