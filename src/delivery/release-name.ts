import { StepError } from '../core/errors.ts'
import { NAME, VERSION, version } from '../core/settings/schema.ts'
import type { Settings } from '../settings.ts'

export interface ReleaseName {
  app: string
  version: string
}

/** As parseRelease takes it, for those who look at a schema first. */
export const RELEASE_PATTERN = `${NAME.source.slice(0, -1)}@${VERSION.source.slice(1)}`

/** Reads `webapi@1.4.2`. */
export function parseRelease(text: string): ReleaseName {
  const [app = '', number = '', ...rest] = text.split('@')
  if (NAME.test(app) && version.safeParse(number).success && rest.length === 0) {
    return { app, version: number }
  }
  throw new StepError('INPUT_INVALID', `"${text}" is not a release`, {
    hint: 'Write application@version: webapi@1.4.2. `crosscloud history` lists them.',
  })
}

export function formatRelease({ app, version: number }: ReleaseName): string {
  return `${app}@${number}`
}

/** Another application's release would run under this application's name, config and gate. */
export function requireApplication(name: string, theirs: string, { app, file }: Settings): void {
  if (theirs === app) return
  throw new StepError('INPUT_INVALID', `${name} is of ${theirs}, and ${file} is of ${app}`, {
    hint: `Name a release of ${app}, or use the crosscloud.yml of ${theirs}.`,
  })
}
