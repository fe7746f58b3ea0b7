import { resolve } from 'node:path'
import { z } from 'zod'
import { StepError } from '../core/errors.ts'
import { acrossFields, containerPath, objectName, version } from '../core/settings/schema.ts'
import type { Context } from '../delivery/context.ts'
import {
  refuseForeign,
  refuseWideWritable,
  requirePackable,
  warnOfLocale,
} from '../delivery/image/bake-checks.ts'
import { readBase } from '../delivery/image/base-image.ts'
import { buildOn } from '../delivery/image/composed.ts'
import { buildDirectly } from '../delivery/image/direct-image.ts'
import { buildWithDocker } from '../delivery/image/docker-image.ts'
import { findRecordedImage } from '../delivery/image/recorded-image.ts'
import { START_SCRIPT, TEMPLATES_FOLDER } from '../delivery/image/remote-image.ts'
import { nextVersion } from '../delivery/release-record.ts'
import { type BaseImage, composeImage, labels, OWN_FOLDER } from '../image/image.ts'
import { type LayerPlan, planTexts, warLayouts } from '../image/layers.ts'
import { DEFAULT_IMAGE_FOLDER, writeLayout } from '../image/layout.ts'
import { builders, checkBuilder } from '../image/settings.ts'
import { nameCharsets } from '../image/war/names.ts'
import { fileTimes } from '../image/war/times.ts'
import { openWar, requireWebApplication, type WarDigests } from '../image/war/war.ts'
import type { Settings } from '../settings.ts'
import { imageReference } from './inputs.ts'
import { defineStep } from './step.ts'

const addition = z.string().refine((text) => {
  const at = text.lastIndexOf(':/')
  return at > 0 && containerPath.safeParse(text.slice(at + 1)).success
}, 'is not an addition; write from:/where/in/the/image')

const inputs = z
  .object({
    app: objectName.describe('Name of the application'),
    war: z.string().describe('WAR to bake'),
    base: imageReference.optional().describe('Base image, best by digest; `scratch` for none'),
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
    builder: z
      .enum(builders)
      .default('crosscloud')
      .describe('What makes the image: crosscloud, without a daemon, or docker by your Dockerfile'),
    dockerfile: z
      .string()
      .optional()
      .describe('Your Dockerfile; default: Dockerfile in the context'),
    context: z
      .string()
      .optional()
      .describe('Folder that is sent to the engine as build context; default: the current one'),
    buildArgs: z
      .array(z.string())
      .default([])
      .describe('Build arguments, as NAME=value; never secrets'),
    target: z.string().optional().describe('Stage of the Dockerfile to build; default: the last'),
    engine: z
      .string()
      .optional()
      .describe('Docker Engine that builds; default: DOCKER_HOST, else the local socket'),
    engineCertificates: z
      .string()
      .optional()
      .describe('Folder with ca.pem, cert.pem and key.pem for that engine'),
    architecture: z.string().default('amd64').describe('Which of the base images to take'),
    imageFolder: z
      .string()
      .default(DEFAULT_IMAGE_FOLDER)
      .describe('Folder to write the OCI image layout to'),
  })
  .check(acrossFields(checkBuilder))
type Inputs = z.output<typeof inputs>

/** What `image:` says for a build by docker. */
function builderInputs(image: NonNullable<Settings['image']>, folder: string) {
  const { builder, dockerfile, context = '.', args = {}, target, engine } = image
  if (builder !== 'docker') return {}
  return {
    builder,
    target,
    context: resolve(folder, context),
    ...(dockerfile !== undefined && { dockerfile: resolve(folder, dockerfile) }),
    buildArgs: Object.entries(args).map(([name, value]) => `${name}=${value}`),
    ...(engine && { engine: engine.address.text }),
    ...(engine?.certificates !== undefined && {
      engineCertificates: resolve(folder, engine.certificates),
    }),
  }
}

export const bakeImage = defineStep({
  name: 'bake-image',
  summary: 'Bake the WAR into an image that knows no environment; no daemon is needed.',
  example: 'bake-image --war target/webapi.war --version 1.4.2',
  ci: { artifacts: ['.crosscloud/image/'], asksServer: true },
  inputs,
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
      ...builderInputs(image, folder),
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
      const [digests, base, templates, number] = await Promise.all([
        war.digest(context.signal),
        inputs.base === undefined ? undefined : readBase(inputs.base, inputs, context),
        inputs.templates === undefined ? undefined : readTemplates(inputs.templates, context),
        resolveVersion(inputs.app, inputs.version, context),
      ])
      const cache = { folder: context.cacheFolder, sealKey: await context.sealKey() }
      const folder = resolve(context.cwd, inputs.imageFolder)
      const result = {
        imageFolder: inputs.imageFolder,
        version: number,
        warMd5: digests.md5,
        warSha256: digests.sha256,
      }
      const recorded = await findRecorded({ ...inputs, number }, digests, context)
      if (recorded) {
        await writeLayout(folder, recorded.image, [], cache, recorded.reference)
        return { ...result, digest: recorded.image.manifest.digest, layers: 0 }
      }
      // The only place where a builder is chosen.
      const composed = base
        ? await buildDirectly(base, inputs, war, digests, cache, context)
        : await buildWithDocker(inputs, war, digests, cache, context)
      const { reference, folders, blobs, created } = composed
      warnOfLocale(war, composed.base, context)
      const own: LayerPlan[] = [
        ...(templates ? [planTexts('templates', TEMPLATES_FOLDER, asFiles(templates))] : []),
        planTexts('manifest', OWN_FOLDER, asFiles(composed.manifests)),
        ...(inputs.startScript ? [startLayer(inputs.app, number, digests.md5)] : []),
      ]
      const layers = [...composed.layers, ...(await buildOn(folders, own, cache, context.signal))]
      const described = imageLabels({ ...inputs, number, base: composed.base, digests, created })
      const image = composeImage({
        base: composed.base,
        layers,
        created,
        labels: { ...composed.labels, ...described },
        ...entrypointOf(inputs, composed.base),
      })
      await writeLayout(folder, image, [...blobs, ...layers], cache, reference)
      return { ...result, digest: image.manifest.digest, layers: blobs.length + layers.length }
    } finally {
      await war.close()
    }
  },
})

/** Where the same input gives the same image, nothing needs to be looked up. */
async function findRecorded(
  { builder, ...inputs }: Inputs & { number: string | undefined },
  digests: WarDigests,
  context: Context,
) {
  return builder === 'docker' ? findRecordedImage(inputs, digests, context) : undefined
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
  return nextVersion(app, context)
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
  created: string
}): Record<string, string> {
  const { digests, base, number, commit } = options
  return {
    [labels.application]: options.app,
    [labels.created]: options.created,
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
