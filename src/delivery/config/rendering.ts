import { sealAlike } from '../../config/rules/encryption.ts'
import {
  configRevision,
  describeRevision,
  fingerprintKey,
  revisionInput,
} from '../../config/rules/revision.ts'
import { type ConfigSchema, readConfigSchema } from '../../config/rules/schema.ts'
import type { ConfigSnapshot } from '../../config/store/store.ts'
import { prefetchLookups } from '../../config/template/lookups.ts'
import { type Rendered, type RenderedFile, renderAll } from '../../config/template/render.ts'
import {
  type ConfigTemplate,
  readTemplates,
  type TemplateFiles,
} from '../../config/template/resources.ts'
import { compileTemplates } from '../../config/template/templates.ts'
import type { Digest } from '../../core/digest.ts'
import { StepError, toStepError } from '../../core/errors.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { secretKeys } from '../../targets/secret-settings.ts'
import { slotPlaceholder } from '../../targets/slot-values.ts'
import type { Context } from '../context.ts'
import { type RemoteImage, readLayerFiles, TEMPLATES_FOLDER } from '../image/remote-image.ts'
import { type EnvironmentConfig, readConfig } from './environment-config.ts'
import { readSecretFiles, type SecretFiles } from './secret-files.ts'

/** An environment's config files, complete and checked, and the revision they came from. */
export interface Rendering {
  files: RenderedFile[]
  revision: Digest
  /** What the ledger keeps of the revision; no secret in clear. */
  description: string
  templates: readonly ConfigTemplate[]
  config: EnvironmentConfig
  /** Keys that templates look for and nobody has set, a line each. */
  warnings: readonly string[]
  /** The same templates with other values. */
  render(snapshot: ConfigSnapshot): Rendered
}

/** Renders the templates inside an image with an environment's values: those of now, or of `then`. */
export async function renderFor(
  environment: EnvironmentSettings,
  image: RemoteImage,
  context: Context,
  then?: ConfigSnapshot,
): Promise<Rendering> {
  const registry = await context.registry()
  const templates = await readLayerFiles(registry, image, 'templates', TEMPLATES_FOLDER)
  const { User: user } = image.config.config ?? {}
  return renderTemplates(environment, templates ?? new Map(), context, { snapshot: then, user })
}

interface Known {
  /** Values in place of those of now. */
  snapshot?: ConfigSnapshot | undefined
  /** The image's user. */
  user?: string | undefined
}

/** Renders template files with one snapshot of an environment's config centre. */
export async function renderTemplates(
  environment: EnvironmentSettings,
  source: TemplateFiles,
  context: Context,
  { snapshot: then, user }: Known = {},
): Promise<Rendering> {
  const templates = source.size === 0 ? [] : readTemplates(source)
  const schema = await readConfigSchema(source)
  const wanted = [...templates.flatMap(({ roots }) => roots), ...secretKeys(environment.secrets)]
  const roots = [...new Set(wanted)]
  const config = await readConfig(environment, roots, schema, context, then)
  let problems = schemaProblems(schema, config)
  const compiled = await compileTemplates(templates, context.codeCacheFolder)
  const lookups = await prefetchLookups(compiled, context)
  const render = (snapshot: ConfigSnapshot, locked?: EnvironmentConfig['locked']) =>
    renderAll({
      templates: compiled,
      snapshot,
      locked,
      lookups,
      environment: environment.name,
      slot: (name) => slotPlaceholder(environment.container.slots, name),
    })
  let rendered: Rendered = { files: [], warnings: [] }
  let hint: string | undefined
  try {
    rendered = render(config.values, config.locked)
  } catch (error) {
    // Again with all keys: is a key missing, or only invisible to the template?
    const all = await readConfig(environment, ['/'], schema, context, then)
    const failure = toStepError(await attempt(() => render(all.values, all.locked), error))
    const lines = failure.message.split('\n')
    const known = (problem: string) =>
      lines.some((line) => line.startsWith(problem.replace(/;.*/, ' ')))
    problems = [...lines, ...problems.filter((problem) => !known(problem))]
    hint = failure.hint
  }
  const own = readSecretFiles(environment, config, context, user)
  const files = [...rendered.files, ...own.files]
  const advice = problems.length === 0 ? [] : [hint ?? correctValues(environment)]
  refuse([{ problems, hints: advice }, own, placedTwice(files)])
  for (const warning of [...rendered.warnings, ...own.warnings]) context.log.warn(warning)
  const described = describeFiles(templates, files, config, own.variables)
  return { ...rendered, files, templates, config, render, ...described }
}

const correctValues = ({ name }: EnvironmentSettings) =>
  `Correct the values, \`crosscloud config set --env ${name} KEY VALUE\`, or the schema.`

/** All problems at once, and the next step for each kind of them. */
function refuse(found: readonly Pick<SecretFiles, 'problems' | 'hints'>[]): void {
  const problems = found.flatMap((each) => each.problems)
  if (problems.length === 0) return
  const hint = found.flatMap(({ hints }) => hints).join('\n')
  throw new StepError('INPUT_INVALID', problems.join('\n'), { hint })
}

function placedTwice(files: readonly RenderedFile[]) {
  const twice = files.filter(({ path }, at) => files.findIndex((file) => file.path === path) < at)
  return {
    problems: twice.map(({ path, template }) => `${template}: another file has the path ${path}`),
    hints: twice.length === 0 ? [] : ['Give each file a path of its own.'],
  }
}

async function attempt(work: () => unknown, otherwise: unknown): Promise<unknown> {
  try {
    work()
    return otherwise
  } catch (error) {
    return error
  }
}

function schemaProblems(schema: ConfigSchema | undefined, config: EnvironmentConfig): string[] {
  if (schema === undefined) return []
  return [...schema.check(config.values), ...schema.missing(new Set(config.stored.keys()))]
}

function describeFiles(
  templates: readonly ConfigTemplate[],
  files: readonly RenderedFile[],
  { values, ring, isSecret }: EnvironmentConfig,
  variables: SecretFiles['variables'],
) {
  const input = revisionInput(templates, files, (key) => {
    const variable = variables.get(key)
    if (variable) return variable
    const [value, secret] = [values.get(key) ?? '', isSecret(key)]
    // Encrypted anew, whatever the store holds: the same value has the same record.
    const sealed = ring === undefined ? null : sealAlike(ring, key, value)
    return { value, secret, kept: secret ? sealed : value }
  })
  const key = ring && fingerprintKey(ring.oldest.bytes)
  return { revision: configRevision(input, key), description: describeRevision(input, key) }
}
