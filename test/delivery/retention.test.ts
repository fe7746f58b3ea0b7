import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createContext } from '../../src/context.ts'
import { silentLog } from '../../src/core/log.ts'
import { createSecrets } from '../../src/core/secrets.ts'
import { releasesToRemove } from '../../src/delivery/retention.ts'
import { parseReference, withTag } from '../../src/registry/reference.ts'
import { ended, release, start } from '../ledger/conformance/samples.ts'
import { makeImage, pushImage } from '../support/data/image.ts'
import { runHere } from '../support/program.ts'
import { startDockerRegistry } from '../support/servers/docker-registry.ts'
import { tagsOf } from '../support/servers/embedded-registry.ts'
import { missingProgram } from '../support/servers/server.ts'
import { temporaryFolder } from '../support/temporary.ts'

const versions = (...numbers: number[]) => numbers.map((number) => `1.0.${number}`)
const images = (...numbers: number[]) => versions(...numbers).map((one) => release(one).digest)
const newest = versions(9, 8, 7, 6, 5, 4, 3, 2, 1, 0).map((version) => release(version))

t.test('the newest, the deployed and the running images stay', async (t) => {
  const facts = { releases: newest, deployed: [], running: [], keep: 2 }
  const gone = (more: object) => releasesToRemove({ ...facts, ...more }).map((one) => one.version)
  t.strictSame(gone({}), versions(7, 6, 5, 4, 3, 2, 1, 0), 'the newest')
  t.strictSame(gone({ keep: 10 }), [])
  t.strictSame(
    gone({ running: images(0) }),
    versions(7, 6, 5, 4, 3, 2, 1),
    'what runs, however old',
  )
  const deployed = [images(5, 3, 1), images(4, 2)]
  t.strictSame(gone({ deployed }), versions(7, 6, 1, 0), 'and the way back of each environment')
  const same = newest.map((one) =>
    one.version === '1.0.0' ? { ...one, digest: release('1.0.9').digest } : one,
  )
  t.strictSame(gone({ releases: same }), versions(7, 6, 5, 4, 3, 2, 1), 'two releases, one image')
  const older = release('0.9.0').digest
  const again = newest.map((one) => (one.version === '1.0.0' ? { ...one, digest: older } : one))
  t.strictSame(
    gone({ releases: again, running: [older] }),
    versions(7, 6, 5, 4, 3, 2, 1),
    'what runs is too old to be among them, but one of them is the same image',
  )
  t.strictSame(gone({ releases: [] }), [])
})

const skip = missingProgram('docker-registry')
t.test('`crosscloud retention` removes what no environment needs', { skip }, async (t) => {
  const registry = await startDockerRegistry({ delete: true })
  t.teardown(() => registry.close())
  const cwd = await temporaryFolder(t)
  const image = (name: string) => `${registry.address}/team/${name}`
  await writeFile(
    join(cwd, 'crosscloud.yml'),
    `app: webapi
environments:
  test: { image: ${image('webapi')} }
  review: { image: ${image('webapi')} }
  staging: { from: test, image: ${image('released')} }
`,
  )
  const context = createContext({
    cwd,
    variables: { HOME: cwd },
    log: silentLog,
    secrets: createSecrets(),
    signal: new AbortController().signal,
  })
  t.teardown(() => context.close())
  const client = await context.registry()
  const ledger = await context.ledger()
  for (const version of versions(0, 1, 2, 3, 4, 5)) {
    const made = makeImage(version)
    const place = parseReference(image('webapi'))
    await pushImage(client, withTag(place, version), made)
    await ledger.recordRelease(release(version, { digest: made.manifest.digest }))
  }
  // Somebody else's image in the same repository.
  await pushImage(client, withTag(parseReference(image('webapi')), 'theirs'), makeImage('theirs'))
  const old = await ledger.findRelease('webapi', '1.0.1')
  if (!old) throw new Error('1.0.1 was not recorded')
  const running = await start(ledger, old, 'review')
  await ledger.endDeployment(running.id, ended('succeeded'))

  const tags = () => tagsOf(parseReference(image('webapi')))
  const ask = (...args: string[]) => runHere(['retention', '--keep', '2', ...args], { cwd })
  const dry = await ask('--dry-run')
  t.match(dry, { code: 0, stdout: /webapi \(test, review\): 3 stay, 3 go\n {2}- webapi@1\.0\.3/ })
  t.match(dry.stdout, /released \(staging\): \d stay, 0 go/)
  t.equal((await tags()).length, 7)
  const no = await runHere(['retention', '--keep', '2'], { cwd, confirm: () => false })
  t.match(no, { code: 1, stderr: /nothing was changed/ })
  t.match(await ask('--env', 'staging', '--yes'), { stdout: /Nothing to remove/ })
  t.equal((await tags()).length, 7)
  t.match(await ask('--yes'), { code: 0, stdout: /3 removed/ })
  t.strictSame((await tags()).sort(), [...versions(1, 4, 5), 'theirs'])
  t.match(await ask('--yes'), { code: 0, stdout: /Nothing to remove/ })
  t.match(await runHere(['retention', '--keep', '1'], { cwd }), {
    code: 2,
    stderr: /from 2 to 1000/,
  })

  const strict = await startDockerRegistry()
  t.teardown(() => strict.close())
  const there = parseReference(`${strict.address}/team/webapi`)
  const one = makeImage('1.0.0')
  await pushImage(client, withTag(there, '1.0.0'), one)
  const refused = client.deleteManifest(there, one.manifest.digest)
  await t.rejects(refused, { code: 'COMMAND_FAILED', message: /removes nothing/ })
})
