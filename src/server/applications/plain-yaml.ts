import { isDeepStrictEqual } from 'node:util'
import { describe, StepError } from '../../core/errors.ts'
import { SETTINGS_FILE } from '../../settings.ts'

/**
 * Of mappings, lists, texts, numbers and booleans alone. A tag such as `!!omap` makes a value whose
 * texts nobody looks through, and a later reader takes it for a mapping again.
 */
export async function readPlainYaml(text: string, app: string): Promise<unknown> {
  const { parseDocument } = await import('yaml')
  const document = parseDocument(text, {
    ...{ schema: 'core', merge: false, resolveKnownTags: false, customTags: [] },
    ...{ prettyErrors: false, logLevel: 'error' },
  })
  const [problem] = [...document.errors, ...document.warnings]
  if (problem) throw invalid(app, problem.message)
  if (document.directives.yaml.explicit) throw invalid(app, 'a %YAML line is not read here')
  try {
    return document.toJS({ maxAliasCount: 100 })
  } catch (error) {
    throw invalid(app, describe(error))
  }
}

/** The text that the step reads: what it says has been looked through, and nothing else is in it. */
export async function writePlainYaml(settings: unknown, app: string): Promise<string> {
  const { stringify } = await import('yaml')
  const text = stringify(settings, { aliasDuplicateObjects: false })
  if (isDeepStrictEqual(await readPlainYaml(text, app), settings)) return text
  throw invalid(app, 'is read in another way after it was merged')
}

function invalid(app: string, problem: string): StepError {
  return new StepError('INPUT_INVALID', `${SETTINGS_FILE} of ${app}: ${problem}`, {
    hint: 'Correct it on the protected branch.',
  })
}
