import { resolve } from 'node:path'
import { z } from 'zod'
import { writeFiles } from '../config/place.ts'
import { readTemplateFolder } from '../config/resources.ts'
import { withDigest } from '../registry/reference.ts'
import { findRelease } from './deploy.ts'
import { releaseName } from './inputs.ts'
import { openImage } from './remote-image.ts'
import { renderFor, renderTemplates } from './rendering.ts'
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
    check: z.boolean().default(false).describe('Render and check everything, write nothing'),
  }),
  outputs: z.object({
    environment: z.string().describe('Environment whose values were used'),
    configRevision: z.string().describe('Hash over keys, values and templates'),
    files: z.array(z.string()).describe('Paths inside the container'),
    out: z.string().optional().describe('Folder they were written to'),
  }),
  fromSettings: ({ image }) => ({ templates: image?.templates }),
  report: ({ environment, configRevision, files, out }) => [
    `Config of ${environment} is complete: ${configRevision}`,
    ...files.map((path) => `${out ? 'Wrote ' : 'Checked'}  ${path}`),
  ],
  async run({ env, release: name, templates, out, check }, context) {
    const environment = await context.environment(env)
    const rendering = name
      ? await renderRelease(name)
      : await renderTemplates(
          environment,
          await readTemplateFolder(resolve(context.cwd, templates ?? 'deploy')),
          context,
        )
    const written = check ? undefined : out
    if (written !== undefined) await writeFiles(resolve(context.cwd, written), rendering.files)
    return {
      environment: env,
      configRevision: rendering.revision,
      files: rendering.files.map(({ path }) => path),
      out: written,
    }

    async function renderRelease(text: string) {
      const { digest } = await findRelease(text, await context.ledger())
      const image = await openImage(
        await context.registry(),
        withDigest(environment.image, digest),
        { what: `${text} for ${env}:` },
      )
      return renderFor(environment, image, context)
    }
  },
})
