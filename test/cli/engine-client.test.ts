import { once } from 'node:events'
import { cp, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { startCli } from '../support/cli.ts'
import { temporaryFolder } from '../support/temporary.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

t.test('the program asks an engine without a client for gRPC, or another for SSH', async (t) => {
  const folder = await temporaryFolder(t)
  for (const part of ['package.json', 'dist/cli']) {
    await cp(join(ROOT, part), join(folder, part), { recursive: true })
  }
  const asked: string[] = []
  const engine = createServer(({ url = '' }, response) => {
    asked.push(url)
    response.end('OK')
  })
  await once(engine.listen(join(folder, 'engine.sock')), 'listening')
  t.teardown(() => engine.close())
  const hosts = { 'app-01': `unix://${join(folder, 'engine.sock')}` }
  const environments = { test: { image: 'registry.test/webapi', hosts } }
  await writeFile(join(folder, 'crosscloud.yml'), JSON.stringify({ app: 'webapi', environments }))
  const program = join(folder, 'dist/cli/main.js')
  // No package can be found from there: what it loads is in the program.
  const { code, stdout, stderr } = await startCli(['hosts', 'list', '--env', 'test'], {
    ...{ cwd: folder, program, env: { HOME: folder } },
  }).finished
  t.match({ code, stdout }, { code: 0, stdout: /app-01 .* yes/ }, stderr)
  t.match(asked, [/\/_ping/])
})
