import type { KeyRing } from '../../config/rules/encryption.ts'
import type { Secrets } from '../../core/secrets.ts'
import type { EnvironmentSettings, Settings } from '../../settings.ts'

type Variables = Readonly<Record<string, string | undefined>>

const CONFIG_KEY = 'CROSSCLOUD_CONFIG_KEY'

/** From crosscloud.yml, else from the variable; never shown in full. */
export async function openConfigKeys(
  { configKey }: EnvironmentSettings,
  { folder, file }: Settings,
  { variables, secrets }: { variables: Variables; secrets: Secrets },
): Promise<KeyRing | undefined> {
  const text = configKey ?? variables[CONFIG_KEY]
  if (!text) return undefined
  const { openKeyRing } = await import('../../config/rules/key-ring.ts')
  if (!/^(?:file:|\/)/.test(text)) secrets.add(text)
  return openKeyRing(text, configKey === undefined ? CONFIG_KEY : `config-key in ${file}`, folder)
}
