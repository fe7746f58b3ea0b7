import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { z } from 'zod'
import { shortDigest } from '../core/digest.ts'
import { isStepError, StepError } from '../core/errors.ts'
import { isDirty } from '../core/git/commit.ts'
import { readWithGit } from '../core/git/git.ts'
import { version } from '../core/settings/schema.ts'
import { withoutWarnings } from '../delivery/config/release-config.ts'
import { renderTemplates } from '../delivery/config/rendering.ts'
import type { Context } from '../delivery/context.ts'
import { chooseHosts } from '../delivery/deployment/host-choice.ts'
import { addressOutput, nextLines, summarizeRun } from '../delivery/deployment/outcome.ts'
import { formatRelease } from '../delivery/release-name.ts'
import { nextVersion } from '../delivery/release-record.ts'
import type { EnvironmentSettings } from '../settings.ts'
import { bakeImage } from './bake-image.ts'
import { buildWar } from './build-war.ts'
import { deploy } from './deploy.ts'
import { callStep, lockWaitInput, olderInput, reasonInput } from './inputs.ts'
import { pushImage } from './push-image.ts'
import { defineStep } from './step.ts'
import { verifyMd5 } from './verify-md5.ts'

export const release = defineStep({
  name: 'release',
  summary: 'The whole road to the first environment: build, bake, push, deploy, verify.',
  example: 'release --env test --reason "new price list"',
  ci: { runsOnce: true, asksServer: true },
  inputs: z.object({
    env: z.string().default('test').describe('Environment to deploy to'),
    version: version
      .optional()
      .describe('Version; default: the git tag, else the next one from the ledger'),
    reason: reasonInput,
    older: olderInput,
    lockWait: lockWaitInput,
    deploy: z.boolean().default(true).describe('Deploy the release; else stop after the push'),
  }),
  outputs: z.object({
    release: z.string().describe('Release, as application@version'),
    environment: z.string().describe('Environment it was made for'),
    image: z.string().describe('Reference by digest'),
    digest: z.string().describe('Digest of the image'),
    warMd5: z.string().describe('MD5 of the WAR'),
    configRevision: z.string().optional().describe('Config revision it was rendered from'),
    deployment: z.string().optional().describe('Identifier of the deployment in the ledger'),
    verified: z.boolean().describe('Whether every file in the containers was compared'),
    url: addressOutput,
    next: z.string().optional().describe('Environment that a release goes to from here'),
  }),
  report: ({ release: name, environment, digest, warMd5, verified, url, next }) => [
    verified
      ? `${name} runs in ${environment}, and is what was built`
      : `${name} is pushed for ${environment}; it was not deployed`,
    `Image    ${digest}`,
    `WAR MD5  ${warMd5}`,
    ...(url ? [`Address  ${url}`] : []),
    ...nextLines(next),
  ],
  async run({ env, reason, older, lockWait, ...inputs }, context) {
    const environment = await context.environment(env)
    const { app } = await context.settings()
    // What a later step would fail of fails now, before minutes are spent on building.
    const server = await context.server?.()
    if (server === undefined) await context.ledger()
    // A server that deploys it has the config, and this job may have no right to read it.
    const isDeployedHere = inputs.deploy && server === undefined
    if (isDeployedHere) await requireDeployable(environment, { templatesMayCome: true }, context)
    const built = await callStep(buildWar, {}, context)
    const number =
      inputs.version ?? (await gitTag(built.commit, context)) ?? (await nextVersion(app, context))
    const baked = await callStep(
      bakeImage,
      { war: built.war, version: number, commit: built.commit },
      context,
    )
    // A build may write templates, and takes a while.
    if (isDeployedHere) await requireDeployable(environment, { templatesMayCome: false }, context)
    const pushed = await callStep(
      pushImage,
      { to: environment.image, imageFolder: baked.imageFolder, reason: reason || undefined },
      context,
    )
    const name = { app, version: number }
    const result = {
      release: formatRelease(name),
      environment: env,
      image: pushed.image,
      digest: pushed.digest,
      warMd5: built.warMd5,
    }
    if (!inputs.deploy) return { ...result, verified: false }
    const given = { release: name, env, reason, older, lockWait }
    const deployed = await callStep(deploy, given, context)
    await callStep(verifyMd5, { env, release: name }, context)
    return { ...result, ...summarizeRun(deployed) }
  },
})

/**
 * Renders the config as the deployment will: a release that cannot be deployed is neither
 * pushed nor recorded. The deployment logs the warnings.
 */
async function requireDeployable(
  environment: EnvironmentSettings,
  { templatesMayCome }: { templatesMayCome: boolean },
  context: Context,
): Promise<void> {
  const { name, from } = environment
  if (from !== undefined) {
    throw new StepError(
      'INPUT_INVALID',
      `a release begins in the first environment, and ${name} comes after ${from}`,
      { hint: `Deploy it to ${from}, then \`crosscloud promote --to ${name}\`.` },
    )
  }
  chooseHosts(environment, [], '')
  const { image } = await context.settings()
  const { cwd, signal } = context
  if (image?.templates === undefined) return
  const folder = resolve(cwd, image.templates)
  if (templatesMayCome && !existsSync(folder)) return
  const { readTemplateFolder } = await import('../config/template/resources.ts')
  const files = await readTemplateFolder(folder, signal)
  const { revision } = await renderTemplates(environment, files, withoutWarnings(context))
  context.log.info(`the config of ${name} is complete: ${shortDigest(revision)}`)
}

/** The tag of the commit, without a leading `v`; uncommitted files are not what was tagged. */
async function gitTag(
  commit: string | undefined,
  { cwd, signal }: Context,
): Promise<string | undefined> {
  if (isDirty(commit)) return undefined
  try {
    const args = ['describe', '--exact-match', '--tags', 'HEAD']
    const { stdout } = await readWithGit(args, { cwd, signal })
    const tag = stdout.trim().replace(/^v(?=\d)/, '')
    return version.safeParse(tag).success ? tag : undefined
  } catch (error) {
    if (isStepError(error, 'CANCELLED')) throw error
    return undefined
  }
}
