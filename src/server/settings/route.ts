import { z } from 'zod'
import { StepError } from '../../core/errors.ts'
import { duration, objectName } from '../../core/settings/schema.ts'
import { gateSettings } from '../effects/gate.ts'
import { jenkinsJobSettings } from '../effects/jenkins.ts'
import { pipelineSettings } from '../effects/pipeline.ts'
import { replySettings } from '../effects/reply.ts'
import { runSettings } from '../effects/run.ts'
import { workflowSettings } from '../effects/workflow.ts'
import { kinds } from '../sources/event.ts'
import { pattern } from './patterns.ts'

const patterns = z.array(pattern).min(1).optional()
const refs = z
  .array(pattern.regex(/^(?!refs\/)/, 'is a whole ref; write main, or v1.2'))
  .min(1)
  .optional()

/** The effects of a route; a route without an effect only sends notifications. */
const effects = {
  pipeline: pipelineSettings.optional().describe('Start a pipeline on GitLab'),
  workflow: workflowSettings.optional().describe('Dispatch a workflow on GitHub or Gitea'),
  jenkins: jenkinsJobSettings.optional().describe('Start a job on Jenkins'),
  run: runSettings.optional().describe('Run release, promote or deploy here, on a worker'),
  gate: gateSettings.optional().describe("Let a scan's result open or close a gate"),
  reply: replySettings.optional().describe('Reply to a comment with the table of releases'),
}
export const effectNames = Object.keys(effects) as (keyof typeof effects)[]

/** One of `routes:` in crosscloud.server.yml. */
export const route = z
  .strictObject({
    name: objectName.describe('Its name, in logs, statuses and metrics'),
    source: z.string().describe('gitlab, github, gitea, harbor, or the name of a generic source'),
    on: z.array(z.enum(kinds)).min(1).default(['push']).describe('Kinds of events'),
    projects: patterns.describe('Projects; default all that the source listens to'),
    branches: refs.describe('Branches of a push or merge request; default all'),
    tags: refs.describe('Tags, of an image, too; default all'),
    paths: patterns.describe('At least one changed file must be like one of these; default all'),
    comment: z
      .string()
      .min(1)
      .default('/crosscloud status')
      .describe('Of comments, the one that is meant'),
    ...effects,
    supersede: z
      .boolean()
      .default(false)
      .describe('Whether a newer event takes the place of a waiting one of the same branch'),
    status: z.boolean().default(false).describe('Whether the commit gets a status with a link'),
    notify: z.array(objectName).default([]).describe('Who is notified, by the names under notify'),
    retry: duration
      .prefault('24h')
      .describe('How long a failed event is tried again before it is a dead letter'),
  })
  .superRefine((settings, check) => {
    const used = effectNames.filter((name) => settings[name] !== undefined)
    const report = (message: string) => check.addIssue({ code: 'custom', message, input: settings })
    if (used.length > 1) report(`does ${used.join(' and ')}; make a route of each`)
    if (used.length === 0 && settings.notify.length === 0) {
      report(`does nothing; give it one of ${effectNames.join(', ')}, or notify`)
    }
  })

export type RouteSettings = z.output<typeof route>

/** Throws INPUT_INVALID when the file no longer has a route of this name. */
export function findRoute(
  { routes, file }: { routes: readonly RouteSettings[]; file: string },
  name: string,
): RouteSettings {
  const found = routes.find((known) => known.name === name)
  if (found) return found
  throw new StepError('INPUT_INVALID', `there is no route "${name}" in ${file} any more`, {
    hint: 'Write it again and retry the event, or drop the event.',
  })
}
