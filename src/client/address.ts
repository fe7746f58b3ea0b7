import { isServerUrl, type ServerAddress, WAIT, withoutSlash } from '../api/settings.ts'
import { StepError } from '../core/errors.ts'

/** In place of an address: the steps run here, whatever crosscloud.yml says. */
const NONE = 'none'

/**
 * The server that steps run on, by CROSSCLOUD_SERVER, else by crosscloud.yml; undefined: they run here.
 */
export function serverAddress(
  variable: string | undefined,
  settings: ServerAddress | undefined,
): ServerAddress | undefined {
  if (!variable) return settings
  if (variable === NONE) return undefined
  if (!isServerUrl(variable)) {
    throw new StepError('INPUT_INVALID', 'CROSSCLOUD_SERVER is not the address of a server', {
      hint: 'Write https://crosscloud.example.com (http only for loopback), or none.',
    })
  }
  return { ca: settings?.ca, wait: settings?.wait ?? WAIT, url: withoutSlash(variable) }
}
