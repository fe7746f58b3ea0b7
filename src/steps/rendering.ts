import { type RenderedFile, renderAll } from '../config/render.ts'
import { readTemplates } from '../config/resources.ts'
import { configRevision, describeRevision, revisionInput } from '../config/revision.ts'
import type { Digest } from '../core/digest.ts'
import type { EnvironmentSettings } from '../settings.ts'
import { type RemoteImage, readLayerFiles, TEMPLATES_FOLDER } from './remote-image.ts'
import type { Context } from './step.ts'

/** An environment's config files, complete and checked, and the revision they came from. */
export interface Rendering {
  files: RenderedFile[]
  revision: Digest
  /** What the ledger keeps of the revision; no value in clear. */
  description: string
}

/** Renders the templates inside an image with an environment's values. */
export async function renderFor(
  environment: EnvironmentSettings,
  image: RemoteImage,
  context: Context,
): Promise<Rendering> {
  const registry = await context.registry()
  const templates = await readLayerFiles(registry, image, 'templates', TEMPLATES_FOLDER)
  return renderTemplates(environment, templates ?? new Map(), context)
}

/** Renders template files with one snapshot of an environment's config centre. */
export async function renderTemplates(
  environment: EnvironmentSettings,
  source: ReadonlyMap<string, Buffer>,
  context: Context,
): Promise<Rendering> {
  const templates = readTemplates(source)
  const snapshot =
    templates.length === 0
      ? new Map<string, string>()
      : await (await context.configStore(environment)).snapshot(['/'])
  const files = renderAll({ templates, snapshot, environment: environment.name })
  const input = revisionInput(templates, snapshot, files)
  return { files, revision: configRevision(input), description: describeRevision(input) }
}
