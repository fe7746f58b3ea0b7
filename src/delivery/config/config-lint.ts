import { resolve } from 'node:path'
import type { LintedEnvironment } from '../../config/rules/lint.ts'
import { readTemplateFolder } from '../../config/template/resources.ts'
import { describe, isStepError } from '../../core/errors.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { Context } from '../context.ts'
import { openConfig } from './config-change.ts'
import { renderTemplates } from './rendering.ts'

/** An environment's keys, and the problems that rendering the templates of the working folder finds. */
export async function lintEnvironment(
  environment: EnvironmentSettings,
  context: Context,
): Promise<LintedEnvironment> {
  const { config } = await openConfig(environment.name, ['/'], context)
  const { values, sealed, locked, isSecret, ring } = config
  const common = { name: environment.name, values, sealed, locked, isSecret }
  return { ...common, canSeal: ring !== undefined, ...(await tryRendering(environment, context)) }
}

async function tryRendering(
  environment: EnvironmentSettings,
  context: Context,
): Promise<Pick<LintedEnvironment, 'used' | 'problems'>> {
  const { image, folder } = await context.settings()
  const templates = resolve(folder, image?.templates ?? 'deploy')
  try {
    const source = await readTemplateFolder(templates, context.signal)
    const { files } = await renderTemplates(environment, source, context)
    return { used: new Set(files.flatMap(({ keys }) => keys)), problems: [] }
  } catch (error) {
    // Without a template folder there is nothing that could use a key.
    if (isStepError(error, 'NOT_FOUND') && image?.templates === undefined) {
      return { used: undefined, problems: [] }
    }
    if (!isStepError(error, 'INPUT_INVALID')) throw error
    return { used: undefined, problems: describe(error).split('\n') }
  }
}
