import { resolve } from 'node:path'
import { z } from 'zod'
import { isBelow } from '../core/checkout.ts'
import { parseDigest } from '../core/digest.ts'
import { StepError, throwIfCancelled } from '../core/errors.ts'
import { containerPath, objectName, version } from '../core/schema.ts'
import { type Addition, planAdditions } from '../image/additions.ts'
import { buildLayer } from '../image/build.ts'
import { contentMd5 } from '../image/gzip.ts'
import { type BaseImage, composeImage, labels, OWN_FOLDER, scratchBase } from '../image/image.ts'
import { type Layer, planTexts, planWar, warLayouts } from '../image/layers.ts'
import { DEFAULT_IMAGE_FOLDER, writeLayout } from '../image/layout.ts'
import { refuseOverlaps } from '../image/overlaps.ts'
import { openWar, requireWebApplication, type War } from '../image/war.ts'
import { parseReference, type Reference, withDigest } from '../registry/reference.ts'
import { imageReference } from './inputs.ts'
import {
  MANIFEST_FILE,
  openImage,
  START_SCRIPT,
  TEMPLATES_FOLDER,
  UNPACKED_FILE,
} from './remote-image.ts'
import { type Context, defineStep } from './step.ts'

const addition = z.string().refine((text) => {
  const at = text.lastIndexOf(':/')
  return at > 0 && containerPath.safeParse(text.slice(at + 1)).success
}, 'is not an addition; write from:/where/in/the/image')

export const bakeImage = defineStep({
  name: 'bake-image',
  summary: 'Bake the WAR into an image that knows no environment; no daemon is needed.',
  example: 'bake-image --war target/webapi.war --version 1.4.2',
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
  fromSettings: ({ app, war, image }) => ({
    app,
    ...(war && { war: war.path, warStatic: war.static }),
    ...(image && {
      base: image.base,
      webapp: image.webapp,
      warLayout: image.layout,
      templates: image.templates,
      add: Object.entries(image.add ?? {}).map(([from, to]) => `${from}:${to}`),
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
    if (inputs.warLayout === 'packaged') refuseSuffix(inputs.webapp)
    refuseWideWritable(inputs)
    const war = await openWar(resolve(context.cwd, inputs.war))
    try {
      requireWebApplication(war, { staticFiles: inputs.warStatic })
      const [digests, base, templates] = await Promise.all([
        war.digest(context.signal),
        readBase(inputs.base, inputs.architecture, context),
        inputs.templates === undefined ? undefined : readTemplates(inputs.templates, context),
      ])
      const number = await settleVersion(inputs.app, inputs.version, context)
      const cache = { folder: context.cacheFolder }
      const layers: Layer[] = []
      const additions = await planAdditions(additionsOf(inputs.add, context), context.signal)
      const place = { layout: inputs.warLayout, webapp: inputs.webapp }
      const webapp = planWar(war, digests, place)
      const owned = additions.map((plan, index) => ({ owner: inputs.add[index] ?? '', plan }))
      refuseOverlaps(webapp, owned, place)
      for (const plan of [...additions, ...webapp]) {
        layers.push(await buildLayer(plan, cache, context.signal))
      }
      const manifest = new Map([[MANIFEST_FILE, fileManifest(layers)]])
      if (inputs.warLayout === 'packaged') {
        manifest.set(UNPACKED_FILE, await unpackedManifest(war, inputs.webapp, context.signal))
      }
      const texts = [
        ...(templates ? [planTexts('templates', TEMPLATES_FOLDER, asFiles(templates))] : []),
        planTexts('manifest', OWN_FOLDER, asFiles(manifest)),
        ...(inputs.startScript ? [startLayer(inputs.app, number, digests.md5)] : []),
      ]
      for (const plan of texts) layers.push(await buildLayer(plan, cache, context.signal))
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

/** An exploded WAR may well stand in a folder of such a name: WildFly wants that. */
function refuseSuffix(webapp: string): void {
  const [, name] = /^(.*)\.war\/?$/i.exec(webapp) ?? []
  if (name === undefined) return
  throw new StepError(
    'INPUT_INVALID',
    `${webapp} would become ${webapp}.war with layout packaged`,
    {
      hint: `Leave .war out of image.webapp: ${name}.`,
    },
  )
}

/** `bin/confd:/usr/local/bin/confd` */
function additionsOf(add: readonly string[], { cwd }: Context): Addition[] {
  return add.map((text) => {
    const at = text.lastIndexOf(':/')
    return { from: resolve(cwd, text.slice(0, at)), to: text.slice(at + 1) }
  })
}

/** The template folder's files, after a look at whether they can be used at all. */
async function readTemplates(folder: string, { cwd, signal }: Context) {
  const resources = await import('../config/resources.ts')
  const files = await resources.readTemplateFolder(resolve(cwd, folder), signal)
  resources.readTemplates(files)
  return files
}

async function settleVersion(
  app: string,
  asked: string | undefined,
  context: Context,
): Promise<string | undefined> {
  if (asked !== 'next') return asked
  return (await context.ledger()).nextVersion(app)
}

/** Manifest and config of the base; none of its blobs. The reference is settled to a digest. */
async function readBase(
  base: string,
  architecture: string,
  context: Context,
): Promise<{ image: BaseImage; reference: Reference | undefined }> {
  if (base === 'scratch') return { image: scratchBase(architecture), reference: undefined }
  const asked = parseReference(base)
  const { manifest, content, config } = await openImage(await context.registry(), asked, {
    what: 'base image',
    architecture,
  })
  return {
    image: { digest: manifest.digest, manifest: content, config },
    reference: withDigest(asked, parseDigest(manifest.digest)),
  }
}

/** What `md5sum -c` reads: a line for every file of the WAR and of the additions. */
function fileManifest(layers: readonly Layer[]): Buffer {
  const lines = layers.flatMap(({ files }) => files.map((file) => `${file.md5}  ${file.path}\n`))
  return Buffer.from(lines.join(''))
}

/** The same for what a server makes of the .war file, whole as its directory promises. */
async function unpackedManifest(war: War, webapp: string, signal: AbortSignal): Promise<Buffer> {
  const lines: string[] = []
  for (const entry of war.entries) {
    throwIfCancelled(signal)
    const md5 = await contentMd5({ ...entry, read: () => war.readStored(entry) })
    lines.push(`${md5}  ${webapp.replace(/\/+$/, '')}/${entry.name}\n`)
  }
  return Buffer.from(lines.join(''))
}

/** Of what may change around the web application nothing could be proven. */
function refuseWideWritable({ writable, webapp }: { writable: string[]; webapp: string }): void {
  const wide = writable.find((path) => isBelow(webapp, path))
  if (wide === undefined) return
  throw new StepError('INPUT_INVALID', `image.writable: ${wide} holds the whole web application`, {
    hint: `Name only what the application writes itself, such as ${webapp}/uploads.`,
  })
}

function asFiles(files: ReadonlyMap<string, Buffer>, mode = 0o644) {
  return new Map([...files].map(([path, content]) => [path, { content, mode }]))
}

/** Every value in it was checked against a narrow pattern, so none needs quoting beyond these. */
function startLayer(app: string, number: string | undefined, warMd5: string) {
  const told = `${app} ${number ?? '(no version)'}, WAR MD5 ${warMd5}`
  const script = `#!/bin/sh\nprintf '%s\\n' '${told}'\nexec "$@"\n`
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
