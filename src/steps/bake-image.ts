import { resolve } from 'node:path'
import { z } from 'zod'
import { StepError } from '../core/errors.ts'
import { containerPath, objectName, version } from '../core/settings/schema.ts'
import type { Context } from '../delivery/context.ts'
import {
  refuseFilesOfBase,
  refuseForeign,
  refuseWideWritable,
  requirePackable,
  warnOfLocale,
} from '../delivery/image/bake-checks.ts'
import { planFolders, readBase } from '../delivery/image/base-image.ts'
import { fileManifests } from '../delivery/image/file-manifest.ts'
import { setTimes } from '../delivery/image/image-times.ts'
import { START_SCRIPT, TEMPLATES_FOLDER } from '../delivery/image/remote-image.ts'
import { type Addition, planAdditions } from '../image/additions.ts'
import { placeOnBase } from '../image/base/place.ts'
import { buildLayer } from '../image/build.ts'
import { type BaseImage, composeImage, labels, OWN_FOLDER } from '../image/image.ts'
import {
  type Layer,
  type LayerPlan,
  planTexts,
  planWar,
  type WarLayout,
  warLayouts,
} from '../image/layers.ts'
import { DEFAULT_IMAGE_FOLDER, writeLayout } from '../image/layout.ts'
import { refusePointers } from '../image/lfs-pointers.ts'
import { refuseOverlaps } from '../image/overlaps.ts'
import { nameCharsets } from '../image/war/names.ts'
import { fileTimes } from '../image/war/times.ts'
import { openWar, requireWebApplication, type War, type WarDigests } from '../image/war/war.ts'
import { imageReference } from './inputs.ts'
import { defineStep } from './step.ts'

const addition = z.string().refine((text) => {
  const at = text.lastIndexOf(':/')
  return at > 0 && containerPath.safeParse(text.slice(at + 1)).success
}, 'is not an addition; write from:/where/in/the/image')

export const bakeImage = defineStep({
  name: 'bake-image',
  summary: 'Bake the WAR into an image that knows no environment; no daemon is needed.',
  example: 'bake-image --war target/webapi.war --version 1.4.2',
  ci: { artifacts: ['.crosscloud/image/'] },
  inputs: z.object({
    app: objectName.describe('Name of the application'),
    war: z.string().describe('WAR to bake'),
    base: imageReference.describe('Base image, best by digest; `scratch` for none'),
    webapp: containerPath.describe('Where the web application lives in the image, without .war'),
    warLayout: z.enum(warLayouts).default('exploded').describe('Its files, or one .war file'),
    warStatic: z
      .boolean()
      .default(false)
      .describe('Whether the WAR may lack WEB-INF/, as it holds only files to be served'),
    warNames: z
      .enum(nameCharsets)
      .default('utf-8')
      .describe('Character set of names that the WAR does not mark as UTF-8'),
    times: z
      .enum(fileTimes)
      .default('content')
      .describe("Times of served files: by their content, or the commit's"),
    templates: z.string().optional().describe('Folder with conf.d and templates'),
    add: z
      .array(addition)
      .default([])
      .describe('More files or folders, as from:/where/in/the/image'),
    entrypoint: z
      .array(z.string())
      .optional()
      .describe("What a container starts, in place of the base's entrypoint"),
    writable: z
      .array(containerPath)
      .default([])
      .describe('Paths in the container that the application writes itself; they are not compared'),
    version: version.optional().describe('Version; `next` takes the next one from the ledger'),
    commit: z.string().optional().describe('Commit the WAR was built from'),
    startScript: z
      .boolean()
      .default(false)
      .describe("Print application, version and WAR MD5 at a container's start"),
    architecture: z.string().default('amd64').describe('Which of the base images to take'),
    imageFolder: z
      .string()
      .default(DEFAULT_IMAGE_FOLDER)
      .describe('Folder to write the OCI image layout to'),
  }),
  outputs: z.object({
    imageFolder: z.string().describe('Folder of the OCI image layout'),
    digest: z.string().describe('Digest of the image'),
    version: z.string().optional().describe('Version it was baked as'),
    warMd5: z.string().describe('MD5 of the WAR, hex'),
    warSha256: z.string().describe('SHA-256 of the WAR, hex'),
    layers: z.number().describe('Layers added to the base'),
  }),
  fromSettings: ({ app, war, image, folder }) => ({
    app,
    ...(war && { war: resolve(folder, war.path), warStatic: war.static, warNames: war.names }),
    ...(image && {
      base: image.base,
      webapp: image.webapp,
      warLayout: image.layout,
      times: image.times,
      templates: image.templates && resolve(folder, image.templates),
      add: Object.entries(image.add ?? {}).map(([from, to]) => `${resolve(folder, from)}:${to}`),
      entrypoint: image.entrypoint,
      writable: image.writable,
      startScript: image['start-script'],
    }),
  }),
  report: ({ imageFolder, digest, version: number, warMd5, layers }) => [
    `Image    ${digest}${number ? `, version ${number}` : ''}`,
    `Layers   ${layers} on top of the base, in ${imageFolder}`,
    `WAR MD5  ${warMd5}`,
  ],
  async run(inputs, context) {
    if (inputs.warLayout === 'packaged') requirePackable(inputs)
    refuseWideWritable(inputs)
    const war = await openWar(resolve(context.cwd, inputs.war), inputs.warNames)
    try {
      requireWebApplication(war, { staticFiles: inputs.warStatic })
      const [digests, base, templates] = await Promise.all([
        war.digest(context.signal),
        readBase(inputs.base, inputs, context),
        inputs.templates === undefined ? undefined : readTemplates(inputs.templates, context),
      ])
      warnOfLocale(war, base.image, context)
      if (base.folders) refuseFilesOfBase(inputs, war, base.folders)
      const number = await resolveVersion(inputs.app, inputs.version, context)
      const cache = { folder: context.cacheFolder, sealKey: await context.sealKey() }
      const layers: Layer[] = []
      const { folders } = base
      const build = async (plans: LayerPlan[]) => {
        for (const plan of folders ? placeOnBase(plans, folders) : plans) {
          layers.push(await buildLayer(plan, cache, context.signal))
        }
      }
      const files = await planFiles(war, digests, inputs, context)
      await build(await setTimes(files, war, inputs, context))
      const manifests = await fileManifests(layers, war, inputs, context.signal)
      await build([
        ...(base.reference && folders ? [planFolders(folders)] : []),
        ...(templates ? [planTexts('templates', TEMPLATES_FOLDER, asFiles(templates))] : []),
        planTexts('manifest', OWN_FOLDER, asFiles(manifests)),
        ...(inputs.startScript ? [startLayer(inputs.app, number, digests.md5)] : []),
      ])
      const image = composeImage({
        base: base.image,
        layers,
        created: war.newest.toISOString(),
        labels: imageLabels({ ...inputs, number, base: base.image, digests, created: war.newest }),
        ...entrypointOf(inputs, base.image),
      })
      const folder = resolve(context.cwd, inputs.imageFolder)
      await writeLayout(folder, image, layers, cache, base.reference)
      return {
        imageFolder: inputs.imageFolder,
        digest: image.manifest.digest,
        version: number,
        warMd5: digests.md5,
        warSha256: digests.sha256,
        layers: layers.length,
      }
    } finally {
      await war.close()
    }
  },
})

/** The additions, and above them the WAR. */
async function planFiles(
  war: War,
  digests: WarDigests,
  { add, webapp, warLayout: layout }: { add: string[]; webapp: string; warLayout: WarLayout },
  context: Context,
): Promise<LayerPlan[]> {
  const additions = await planAdditions(additionsOf(add, context), context.signal)
  const plans = planWar(war, digests, { layout, webapp })
  const owned = additions.map((plan, index) => ({ owner: add[index] ?? '', plan }))
  refuseOverlaps(plans, owned, { layout, webapp })
  const files = planWar(war, digests, { layout: 'exploded', webapp })
  await refusePointers([...additions, ...files])
  return [...additions, ...plans]
}

/** `bin/confd:/usr/local/bin/confd` */
function additionsOf(add: readonly string[], { cwd }: Context): Addition[] {
  return add.map((text) => {
    const at = text.lastIndexOf(':/')
    const from = resolve(cwd, text.slice(0, at))
    refuseForeign(from, cwd)
    return { from, to: text.slice(at + 1) }
  })
}

/** The template folder's files, checked for problems that would stop every environment. */
async function readTemplates(folder: string, { cwd, signal, codeCacheFolder }: Context) {
  const [resources, { compileTemplates }, { readConfigSchema }] = await Promise.all([
    import('../config/template/resources.ts'),
    import('../config/template/templates.ts'),
    import('../config/rules/schema.ts'),
  ])
  refuseForeign(resolve(cwd, folder), cwd)
  const files = await resources.readTemplateFolder(resolve(cwd, folder), signal)
  await readConfigSchema(files)
  const compiled = await compileTemplates(resources.readTemplates(files), codeCacheFolder)
  const broken = compiled.flatMap(({ program }) => (program instanceof StepError ? [program] : []))
  if (broken.length === 0) return files
  throw new StepError('INPUT_INVALID', broken.map(({ message }) => message).join('\n'), {
    hint: broken[0]?.hint,
  })
}

async function resolveVersion(
  app: string,
  given: string | undefined,
  context: Context,
): Promise<string | undefined> {
  if (given !== 'next') return given
  return (await context.ledger()).nextVersion(app)
}

function asFiles(files: ReadonlyMap<string, Buffer>, mode = 0o644) {
  return new Map([...files].map(([path, content]) => [path, { content, mode }]))
}

/** Every value in it was checked against a narrow pattern, so none needs quoting beyond these. */
function startLayer(app: string, number: string | undefined, warMd5: string) {
  const line = `${app} ${number ?? '(no version)'}, WAR MD5 ${warMd5}`
  const script = `#!/bin/sh\nprintf '%s\\n' '${line}'\nexec "$@"\n`
  return planTexts(
    'start',
    OWN_FOLDER,
    asFiles(new Map([[START_SCRIPT, Buffer.from(script)]]), 0o755),
  )
}

/** The start script goes before whatever starts otherwise; the base's command stays as it is. */
function entrypointOf(
  { entrypoint, startScript }: { entrypoint?: string[] | undefined; startScript: boolean },
  base: BaseImage,
): { entrypoint?: string[] } {
  if (!startScript) return entrypoint ? { entrypoint } : {}
  const { Entrypoint = [], Cmd = [] } = base.config.config ?? {}
  const started = entrypoint ?? Entrypoint
  if (started.length + Cmd.length > 0) {
    return { entrypoint: [`/${OWN_FOLDER}/${START_SCRIPT}`, ...started] }
  }
  throw new StepError('INPUT_INVALID', 'the base image has no entrypoint and no command', {
    hint: 'Leave the start script out, or take a base image that starts something.',
  })
}

function imageLabels(options: {
  app: string
  number: string | undefined
  commit?: string | undefined
  warLayout: string
  webapp: string
  writable: string[]
  base: BaseImage
  digests: { md5: string; sha256: string; size: number }
  created: Date
}): Record<string, string> {
  const { digests, base, number, commit } = options
  return {
    [labels.application]: options.app,
    [labels.created]: options.created.toISOString(),
    ...(number !== undefined && { [labels.version]: number }),
    ...(commit !== undefined && { [labels.revision]: commit }),
    ...(base.digest !== undefined && { [labels.baseDigest]: base.digest }),
    [labels.warMd5]: digests.md5,
    [labels.warSha256]: digests.sha256,
    [labels.warSize]: String(digests.size),
    [labels.warLayout]: options.warLayout,
    [labels.webapp]: options.webapp,
    ...(options.writable.length > 0 && { [labels.writable]: JSON.stringify(options.writable) }),
  }
}
