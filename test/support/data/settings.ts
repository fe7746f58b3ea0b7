import type { Secrets } from '../../../src/core/secrets.ts'
import { openSettings } from '../../../src/settings.ts'

/** The settings that a text of crosscloud.yml holds. */
export async function parseSettings(
  text: string,
  name: string,
  variables: Readonly<Record<string, string | undefined>>,
  secrets: Secrets,
) {
  return (await openSettings(text, name, variables, secrets)).data
}
