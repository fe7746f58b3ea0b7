import { resolve } from 'node:path'
import { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import { duration, durationText, objectName } from '../../core/settings/schema.ts'
import { formatRelease } from '../../delivery/release-name.ts'
import { type EventFacts, templateFacts } from '../sources/event.ts'
import { type Checkout, checkOut, gitAddress } from './checkout.ts'
import { runCommand } from './child.ts'
import type { Attempt, Effect } from './effect.ts'
import {
  type Application,
  commandVariables,
  isNotOf,
  type Workplace,
  withApplication,
} from './environment.ts'
import { compileText, templateText } from './templates.ts'

/** `run:` of a route: a step that a worker runs itself. */
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
    const fault = (message: string) => check.addIssue({ code: 'custom', message, input: step })
    if ((folder === undefined) === (repository === undefined)) fault('needs folder, or repository')
    if (step !== 'release' && repository !== undefined) fault(`of ${step} needs folder`)
    if (step === 'promote' && env === undefined) fault('of promote needs env')
  })

export type RunSettings = z.output<typeof runSettings>

/** Runs a step. It is safe to run again: what was released of a commit is not released twice. */
export function createRunEffect(settings: RunSettings, place: Workplace): Effect {
  const reason = compileText(settings.reason)
  return async (attempt) => {
    const { facts, id, signal } = attempt
    const checkout = await openFolder(settings, attempt, place)
    try {
      const cwd = checkout.folder
      const why = reason(templateFacts(facts, id)).slice(0, 500)
      return await withApplication(
        { ...settings, folder: cwd },
        place,
        signal,
        async (application) => {
          const done: string[] = []
          const { lines, left } = await commandsOf(settings, attempt, application)
          done.push(...left)
          for (const line of lines) {
            const answer = await runCommand({
              ...{ program: place.program, cwd, signal, timeout: settings.timeout },
              args: [...line, '--reason', why, '--lock-wait', settings['lock-wait']],
              env: { ...place.environment, ...settings.variables, ...actorOf(facts) },
            })
            done.push(`${answer.release} runs in ${answer.environment}`)
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
  place: Workplace,
): Promise<Checkout> {
  if (repository !== undefined) return checkOut(repository, facts, place, signal)
  return { folder: resolve(place.folder, folder ?? '.'), remove: async () => {} }
}

interface Commands {
  lines: string[][]
  /** What is not done, and why: for people. */
  left: string[]
}

/** The commands for an event; each is an array of arguments, and none sees a shell. */
async function commandsOf(
  settings: RunSettings,
  attempt: Attempt,
  application: Application,
): Promise<Commands> {
  const { step, env } = settings
  if (step === 'promote') return { lines: [['promote', '--to', env ?? '']], left: [] }
  if (step === 'release') {
    return { lines: [await releaseLine(env, attempt, application)], left: [] }
  }
  const { image } = attempt.facts
  if (image === undefined) throw isAboutNoImage(attempt.facts)
  const release = await application.releaseOf(image, attempt.receivedAt)
  if (release === undefined) return { lines: [], left: [isNotOf(application.app, image).text] }
  const following = env === undefined ? application.following(image) : [env]
  const found: Commands = { lines: [], left: [] }
  for (const name of following) {
    const why = await application.overtaken(release, name)
    if (why === undefined) {
      found.lines.push(['deploy', '--release', formatRelease(release), '--env', name])
    } else found.left.push(`${formatRelease(release)} was not deployed: ${why}`)
  }
  return found
}

/** A commit that an earlier try released is deployed, not released a second time. */
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

/** As CI would tell it; whoever it was is written into the ledger. */
function actorOf({ by, ref, commit, kind }: EventFacts): Record<string, string> {
  const who = { CROSSCLOUD_SERVER: 'true', GITLAB_USER_LOGIN: by || 'webhook' }
  const known = { CI_COMMIT_SHA: commit, CI_COMMIT_REF_NAME: ref }
  if (kind === 'artifact' || kind === 'scan') return who
  const told = Object.entries(known).filter(([, value]) => value !== '')
  return { ...who, ...Object.fromEntries(told) }
}
