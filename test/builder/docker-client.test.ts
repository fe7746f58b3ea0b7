import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { extract } from 'tar-stream'
import { run } from '../../src/core/process/process.ts'
import { createSecrets } from '../../src/core/secrets.ts'
import { packBuildContext, readBuildContext } from '../../src/delivery/image/docker-context.ts'
import { missingProgram } from '../support/servers/server.ts'
import { temporaryFolder } from '../support/temporary.ts'

const paths = [
  ...['a', 'b.md', 'README.md', 'target/app.war', 'target/classes/A.class', 'src/Main.java'],
  ...['src/test/x.md', 'docs/x.md', 'docs/deep/er/x.md', 'docs/deep/keep.md', 'node_modules/m/x'],
  ...[
    '.git/config',
    '.env',
    'a+(b).txt',
    'space in name',
    'Ümlaut/ü',
    'target.txt',
    'deep/a/b/c/d',
  ],
]
const files = [
  ...[
    '',
    '*\n!src',
    '**\n!docs/**',
    'docs/*\n!docs/deep\ndocs/deep/er',
    '*.md\n*/*.md\n!README.md',
  ],
  ...['# a\n/target/\n \n./src/../docs\nd??p\n[r-s]*', 'a*\n!a+(b).txt\n**/node_modules\n.*'],
  ...['deep/**/d\nspace in name\nÜ*\ntarget*\n!target/app.war\nDockerfile\n.dockerignore'],
]

const skip = missingProgram('docker')
t.test("the context has what docker's own client sends", { skip }, async (t) => {
  const folder = await temporaryFolder(t)
  for (const path of [...paths, 'Dockerfile']) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), 'FROM scratch\n')
  }
  const socket = join(await temporaryFolder(t), 'engine.sock')
  let received: string[] = []
  const engine = createServer(async (request, response) => {
    response.setHeader('API-Version', '1.41')
    if (request.method === 'POST') received = await namesIn(request)
    response.end(request.method === 'POST' ? '{"stream":"done\\n"}\n' : 'OK')
  })
  await new Promise<void>((resolve) => engine.listen(socket, resolve))
  t.teardown(() => engine.close())
  const env = { DOCKER_BUILDKIT: '0', DOCKER_CONFIG: folder }
  for (const text of files) {
    await writeFile(join(folder, '.dockerignore'), text)
    await run('docker', ['-H', `unix://${socket}`, 'build', '-q', folder], { env })
    const war = join(folder, 'target/app.war')
    const signal = new AbortController().signal
    const own = await readBuildContext({ context: '.', buildArgs: [] }, war, {
      cwd: folder,
      signal,
      secrets: createSecrets(),
    })
    const sent = await namesIn(await packBuildContext(own, signal))
    const theirs = sent.filter((name) => name !== '.crosscloud/app.war')
    t.strictSame(theirs, received, JSON.stringify(text))
  }
})

/** Files only: a folder is there with them. */
async function namesIn(tar: Readable): Promise<string[]> {
  const names: string[] = []
  const unpack = extract()
  const reading = (async () => {
    for await (const entry of unpack) {
      if (entry.header.type === 'file') names.push(entry.header.name)
      entry.resume()
    }
  })()
  unpack.end(await buffer(tar))
  await reading
  return names.sort()
}
