import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const SRC = fileURLToPath(new URL('../../src/', import.meta.url))

async function filesThat(mention: RegExp): Promise<string[]> {
  const entries = await readdir(SRC, { recursive: true, withFileTypes: true })
  const found: string[] = []
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name)
    if (!entry.isFile() || !path.endsWith('.ts')) continue
    if (mention.test(await readFile(path, 'utf8'))) found.push(relative(SRC, path))
  }
  return found.sort()
}

/** An image is built by an engine, and a proxy in a container is reached by one, whatever the target is. */
const isNoEngineUser = (path: string) => !/^(?:builder|proxies)\//.test(path)

/** What a Swarm or a Kubernetes target would have to change: the settings, and the choice. */
t.test('outside the targets only the context and the settings know a kind of target', async (t) => {
  const imports = await filesThat(/(?:from|import)[\s(]*'[^']*\/targets\/[^/']+\/[^']*'/)
  t.strictSame(imports.filter(isNoEngineUser), ['context.ts', 'settings.ts'])
  t.ok((await filesThat(/from '[^']*\/targets\/target\.ts'/)).includes('context.ts'))
  const kinds = await filesThat(/\bkind\b.*'docker'|case 'docker'/)
  t.strictSame(kinds, ['context.ts', 'settings.ts', 'targets/docker/target.ts'])
})

t.test(
  'an engine is called by the Docker target, who builds or reaches a proxy by one, and the demo',
  async (t) => {
    const users = await filesThat(/['"]dockerode['"]/)
    const others = users
      .filter((path) => !/^(?:targets\/docker|demo)\//.test(path))
      .filter(isNoEngineUser)
    t.strictSame(others, [])
    t.ok(users.includes('targets/docker/driver.ts'))
  },
)
