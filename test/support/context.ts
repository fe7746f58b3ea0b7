import { join } from 'node:path'
import type { Test } from 'tap'
import { createContext, type OpenContext } from '../../src/context.ts'
import { type Log, silentLog } from '../../src/core/log.ts'
import { createSecrets } from '../../src/core/secrets.ts'

/** The real context in a folder, knowing no variable but those given; its cache is in the folder too. */
export function testContext(
  t: Pick<Test, 'teardown'>,
  cwd: string,
  options: { variables?: Record<string, string>; signal?: AbortSignal; log?: Log } = {},
): OpenContext {
  const context = createContext({
    cwd,
    variables: {
      HOME: cwd,
      DOCKER_CONFIG: join(cwd, '.docker'),
      CROSSCLOUD_CACHE: join(cwd, '.cache'),
      ...options.variables,
    },
    log: options.log ?? silentLog,
    secrets: createSecrets(),
    signal: options.signal ?? new AbortController().signal,
  })
  t.teardown(() => context.close())
  return context
}
