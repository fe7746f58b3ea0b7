import { resolve } from 'node:path'
import { z } from 'zod'
import { writeArchive } from '../config/template/archive.ts'
import { runCheckCommands } from '../config/template/check-command.ts'
import { readTemplateFolder } from '../config/template/resources.ts'
import { writeFiles } from '../config/template/write-files.ts'
import { renderRelease } from '../delivery/config/release-config.ts'
import { diffFolder, diffRunning, type RenderedDiff } from '../delivery/config/rendered-diff.ts'
import { type Rendering, renderTemplates } from '../delivery/config/rendering.ts'
import type { Context } from '../delivery/context.ts'
import { findOwnRelease } from '../delivery/release.ts'
import type { EnvironmentSettings } from '../settings.ts'
import { fillSlotValues } from '../targets/slot-values.ts'
import { releaseName } from './inputs.ts'
import { defineStep } from './step.ts'

export const renderConfig = defineStep({
  name: 'render-config',
  summary: "Render an environment's config files, or only check that nothing is missing.",
  example: 'render-config --env staging --check',
  inputs: z.object({
    env: z.string().describe('Environment whose values are used'),
    release: releaseName.optional().describe('Use the templates inside this release'),
    templates: z.string().optional().describe('Use the templates of this folder'),
    out: z.string().optional().describe('Folder to write the files to'),
    tar: z.string().optional().describe('Tar archive to write the files to, with owner and mode'),
    check: z.boolean().default(false).describe('Render and check everything, write nothing'),
    runChecks: z
      .boolean()
      .default(false)
      .describe('Run the check_cmd of each template on this machine, without a shell'),
    diff: z
      .string()
      .optional()
      .describe('Show what differs from a folder, or from what runs: `running`'),
  }),
  outputs: z.object({
    environment: z.string().describe('Environment whose values were used'),
    configRevision: z.string().describe('Hash over keys, values and templates'),
    files: z.array(z.string()).describe('Paths inside the container'),
    out: z.string().optional().describe('Folder they were written to'),
    tar: z.string().optional().describe('Archive they were written to'),
    checked: z.array(z.string()).describe('Files that passed their check_cmd'),
    changed: z.array(z.string()).optional().describe('Files that differ, where compared'),
    diff: z.array(z.string()).optional().describe('The differences, without any secret'),
  }),
  fromSettings: ({ image, folder }) => ({
    templates: resolve(folder, image?.templates ?? 'deploy'),
  }),
  report: ({ environment, configRevision, files, out, tar, changed, diff }) => [
    `Config of ${environment} is complete: ${configRevision}`,
    ...files.map((path) => `${out || tar ? 'Wrote ' : 'Checked'}  ${path}`),
    ...(changed?.length === 0 ? ['Nothing differs.'] : []),
    ...(diff ?? []),
  ],
  async run(inputs, context) {
    const { env, release, templates, check, runChecks } = inputs
    const environment = await context.environment(env)
    const rendering = release
      ? await renderRelease(await findOwnRelease(release, context), environment, context)
      : await renderTemplates(
          environment,
          await readTemplateFolder(resolve(context.cwd, templates ?? 'deploy')),
          context,
        )
    const written = filesOfFirstSlot(rendering, environment)
    const checked = runChecks ? await checkFiles(rendering.templates, written, context) : []
    const difference = await compare(inputs.diff, rendering, environment, context)
    const { out, tar } = check ? {} : inputs
    if (out !== undefined) await writeFiles(resolve(context.cwd, out), written, context.signal)
    if (tar !== undefined) await writeArchive(resolve(context.cwd, tar), written)
    return {
      environment: env,
      configRevision: rendering.revision,
      files: rendering.files.map(({ path }) => path),
      out,
      tar,
      checked,
      changed: difference?.changed,
      diff: difference?.lines,
    }
  },
})

function filesOfFirstSlot({ files }: Rendering, environment: EnvironmentSettings) {
  return files.map((file) => ({ ...file, content: fillSlotValues(file.content, environment) }))
}

async function checkFiles(
  templates: Rendering['templates'],
  files: Rendering['files'],
  context: Context,
): Promise<string[]> {
  const { secrets, signal, log } = context
  const { passed, skipped } = await runCheckCommands(templates, files, {
    mask: secrets.mask,
    signal,
  })
  for (const line of skipped) log.warn(line)
  return passed
}

function compare(
  diff: string | undefined,
  rendering: Rendering,
  environment: EnvironmentSettings,
  context: Context,
): Promise<RenderedDiff> | undefined {
  if (diff === undefined) return undefined
  if (diff === 'running') return diffRunning(rendering, environment, context)
  return diffFolder(resolve(context.cwd, diff), rendering)
}
