import type { Operating } from './operating.ts'

export async function readVariables(
  { docker, call }: Operating,
  id: string,
): Promise<Record<string, string>> {
  const { Config } = await call(`inspecting ${id.slice(0, 12)}`, (abortSignal) =>
    docker.getContainer(id).inspect({ abortSignal }),
  )
  return variablesOf(Config.Env)
}

/** `NAME=value`, as an engine lists them. */
export function variablesOf(entries: readonly string[] | null | undefined): Record<string, string> {
  const pairs = (entries ?? []).map((entry): [string, string] => {
    const at = entry.indexOf('=')
    return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)]
  })
  return Object.fromEntries(pairs)
}
