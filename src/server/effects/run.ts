import { resolve } from 'node:path'
import { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import { duration, durationText, objectName } from '../../core/settings/schema.ts'
import { formatRelease } from '../../delivery/release-name.ts'
import { type EventFacts, templateFacts } from '../sources/event.ts'
import { type Application, isNotOf, withApplication } from './application.ts'
import { type Checkout, checkOut, gitAddress } from './checkout.ts'
import { runCommand } from './command.ts'
import type { Attempt, Effect } from './effect.ts'
import { compileTemplate, templateText } from './templates.ts'
import { commandVariables, type WorkerEnvironment } from './worker-environment.ts'

/** `run:` of a route: a step that runs on this worker. */
export const runSettings = z
  .strictObject({
    step: z.enum(['release', 'promote', 'deploy']).describe('What is run'),
    env: objectName
      .optional()
      .describe('Environment; deploy without it: those whose image the event is about'),
    folder: z
      .string()
      .min(1)
      .optional()
      .describe('Folder with crosscloud.yml, for promote and deploy'),
    repository: gitAddress
      .optional()
      .describe('Git repository to release from, at the commit of the event; {{project}} is its'),
    reason: templateText
      .default('{{title}}')
      .describe('Why, for the ledger: a template, such as {{by}}: {{title}}'),
    variables: commandVariables,
    'lock-wait': durationText.default('30m').describe('How long it waits for another deployment'),
    timeout: duration.prefault('1h').describe('How long it may run'),
  })
  .superRefine(({ step, env, folder, repository }, check) => {
    const report = (message: string) => check.addIssue({ code: 'custom', message, input: step })
    if ((folder === undefined) === (repository === undefined)) report('needs folder, or repository')
    if (step !== 'release' && repository !== undefined) report(`of ${step} needs folder`)
    if (step === 'promote' && env === undefined) report('of promote needs env')
  })

export type RunSettings = z.output<typeof runSettings>

/** Runs a step. It may run again: a commit is not released twice. */
export function createRunEffect(settings: RunSettings, worker: WorkerEnvironment): Effect {
  const reason = compileTemplate(settings.reason)
  return async (attempt) => {
    const { facts, id, signal } = attempt
    const checkout = await openFolder(settings, attempt, worker)
    try {
      const cwd = checkout.folder
      const why = reason(templateFacts(facts, id)).slice(0, 500)
      return await withApplication(
        { ...settings, folder: cwd },
        worker,
        signal,
        async (application) => {
          const done: string[] = []
          const { lines, omitted } = await commandsOf(settings, attempt, application)
          done.push(...omitted)
          for (const line of lines) {
            await attempt.confirm()
            const output = await runCommand({
              program: worker.program,
              cwd,
              signal,
              timeout: settings.timeout,
              args: [...line, '--reason', why, '--lock-wait', settings['lock-wait']],
              env: { ...worker.variables, ...settings.variables, ...actorOf(facts) },
            })
            done.push(`${output.release} runs in ${output.environment}`)
          }
          return { text: done.join('; '), state: 'succeeded' }
        },
      )
    } finally {
      await checkout.remove()
    }
  }
}

async function openFolder(
  { folder, repository }: RunSettings,
  { facts, signal }: Attempt,
  worker: WorkerEnvironment,
): Promise<Checkout> {
  if (repository !== undefined) return checkOut(repository, facts, worker, signal)
  return { folder: resolve(worker.folder, folder ?? '.'), remove: async () => {} }
}

interface Commands {
  lines: string[][]
  /** What is left out and why, for people. */
  omitted: string[]
}

/** The commands for an event, as arrays of arguments: no shell is involved. */
async function commandsOf(
  settings: RunSettings,
  attempt: Attempt,
  application: Application,
): Promise<Commands> {
  const { step, env } = settings
  if (step === 'promote') return { lines: [['promote', '--to', env ?? '']], omitted: [] }
  if (step === 'release') {
    return { lines: [await releaseLine(env, attempt, application)], omitted: [] }
  }
  const { image } = attempt.facts
  if (image === undefined) throw isAboutNoImage(attempt.facts)
  const release = await application.releaseOf(image, attempt.receivedAt)
  if (release === undefined) return { lines: [], omitted: [isNotOf(application.app, image).text] }
  const following = env === undefined ? application.following(image) : [env]
  const found: Commands = { lines: [], omitted: [] }
  for (const name of following) {
    const why = await application.overtaken(release, name)
    if (why === undefined) {
      found.lines.push(['deploy', '--release', formatRelease(release), '--env', name])
    } else found.omitted.push(`${formatRelease(release)} was not deployed: ${why}`)
  }
  return found
}

/** A commit that an earlier attempt released is deployed, not released a second time. */
async function releaseLine(
  env: string | undefined,
  { facts, again }: Attempt,
  application: Application,
): Promise<string[]> {
  const to = env === undefined ? [] : ['--env', env]
  const known = again ? await application.releaseOfCommit(facts.commit) : undefined
  if (known === undefined) return ['release', ...to]
  return ['deploy', '--release', formatRelease(known), '--env', env ?? 'test']
}

function isAboutNoImage({ kind }: EventFacts): StepError {
  return new StepError('INPUT_INVALID', `an event of kind ${kind} is about no image`, {
    hint: 'deploy follows Harbor: write source: harbor and on: [artifact] in this route.',
  })
}

/** Who caused the event, in the variables of a CI job; the ledger records it. */
function actorOf({ by, ref, commit, kind }: EventFacts): Record<string, string> {
  const who = { CROSSCLOUD_WORKER: 'true', GITLAB_USER_LOGIN: by || 'webhook' }
  const known = { CI_COMMIT_SHA: commit, CI_COMMIT_REF_NAME: ref }
  if (kind === 'artifact' || kind === 'scan') return who
  const present = Object.entries(known).filter(([, value]) => value !== '')
  return { ...who, ...Object.fromEntries(present) }
}
