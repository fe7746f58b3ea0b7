import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { StepError } from '../../../src/core/errors.ts'
import { silentLog } from '../../../src/core/log.ts'
import { createSecrets } from '../../../src/core/secrets.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import { isPassable } from '../../../src/server/effects/effect.ts'
import { createGateEffect, gateSettings } from '../../../src/server/effects/gate.ts'
import { createRunEffect, runSettings } from '../../../src/server/effects/run.ts'
import type { EventFacts } from '../../../src/server/sources/event.ts'
import { createHarborSource } from '../../../src/server/sources/harbor.ts'
import { ended, release, start } from '../../ledger/conformance/samples.ts'
import { fixture } from '../../support/data/signatures.ts'
import { runHere } from '../../support/program.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const harbor = createHarborSource({ secrets: ['a-secret-of-the-test-1'] })

/** An event of Harbor with something in its data, or in what it is about, changed. */
function event(name: string, data: object, resource: object = {}) {
  const told = fixture(`harbor/${name}`) as { event_data: { resources: object[] } }
  const resources = [{ ...told.event_data.resources[0], ...resource }]
  return { ...told, event_data: { ...told.event_data, resources, ...data } }
}

t.test('only a scan for vulnerabilities concerns a gate', async (t) => {
  const none = { scan_overview: undefined, sbom_overview: { scan_status: 'Success' } }
  const ignored = { ignored: 'only scans for vulnerabilities are used' }
  const sbom = event('scanning_completed', { scan: { scan_type: 'sbom' } }, none)
  t.strictSame(harbor.read({}, sbom), ignored)
  const { event_data: data } = sbom
  const cloud = { specversion: '1.0', type: 'harbor.scan.completed', operator: 'auto', data }
  t.strictSame(harbor.read({}, cloud), ignored, 'as a CloudEvent')
  t.strictSame(harbor.read({}, event('scanning_failed', { scan: { scan_type: 'sbom' } })), ignored)
  t.strictSame(harbor.read({}, event('scanning_completed', {}, none)), ignored, 'without its type')
  const scan = { scan: { scan_type: 'vulnerability' } }
  t.match(harbor.read({}, event('scanning_completed', scan)), { kind: 'scan' })
  const untold = event('scanning_completed', {}, { scan_overview: undefined })
  t.match(harbor.read({}, untold), { kind: 'scan', scan: { state: '' } }, 'nothing harmless')
})

t.test('the signature of an image is not deployed', async (t) => {
  const hex = '7f1c'.repeat(16)
  for (const tag of [
    `sha256-${hex}.sig`,
    `sha256-${hex}.att`,
    `sha256-${hex}.sbom`,
    `sha256-${hex}`,
  ]) {
    const read = harbor.read({}, event('push_artifact', {}, { tag }))
    t.match(read, { ignored: /accessories/ }, tag)
  }
  t.match(harbor.read({}, event('push_artifact', {}, { tag: 'sha256-x.sig' })), {
    kind: 'artifact',
  })
})

t.test('an old release that gets a new tag is not deployed', async (t) => {
  const folder = await temporaryFolder(t)
  const environment = '{ image: registry.test/team/webapi }'
  const settings = `app: webapi\nledger: sqlite:ledger.db\nenvironments: { test: ${environment} }\n`
  await writeFile(join(folder, 'crosscloud.yml'), settings)
  const ledger = await openLedger(join(folder, 'ledger.db'))
  t.teardown(() => ledger.close())
  const baked = (version: string, hour: number) =>
    release(version, { bakedAt: `2026-01-31T1${hour}:00:00.000Z` })
  const [ran, late, current] = [baked('1.0.0', 0), baked('1.0.1', 1), baked('1.0.2', 2)]
  for (const one of [ran, late, current]) await ledger.recordRelease(one)
  for (const one of [ran, current]) {
    const { id } = await start(ledger, one, 'test')
    await ledger.endDeployment(id, ended('succeeded'))
  }
  // A command that is run anyway ends with an error: there is no such program.
  const place = { folder, program: join(folder, 'none.js'), variables: {}, log: silentLog }
  const settled = runSettings.parse({ step: 'deploy', folder: '.' })
  const effect = createRunEffect(settled, { ...place, secrets: createSecrets() })
  const pushed = (digest: string) => {
    const facts = harbor.read({}, event('push_artifact', {})) as EventFacts
    const image = { registry: 'registry.test', repository: 'team/webapi', digest, tag: 'again' }
    const times = { receivedAt: Date.now(), begunAt: Date.now(), confirm: async () => {} }
    const signal = AbortSignal.timeout(60_000)
    return effect({ id: '1', again: false, signal, ...times, facts: { ...facts, image } })
  }
  t.match(await pushed(ran.digest), {
    text: 'webapi@1.0.0 was not deployed: it ran in test before 1.0.2',
  })
  t.match(await pushed(late.digest), {
    text: 'webapi@1.0.1 was not deployed: 1.0.2, which is newer, was deployed to test',
  })
  await t.rejects(pushed(current.digest), { code: /./ }, 'what runs may be deployed again')
  const newer = baked('1.0.3', 3)
  await ledger.recordRelease(newer)
  await t.rejects(pushed(newer.digest), { code: /./ }, 'a new one is')
  const unknown = await pushed(`sha256:${'0'.repeat(64)}`).catch((error: StepError) => error)
  t.ok(isPassable(unknown as StepError), 'one that nobody knows holds up no other')
})

t.test('a clean scan approves by no other name', async (t) => {
  const wrong = gateSettings.safeParse({ folder: '.', approve: true, as: 'ops-wang' })
  t.match(wrong.error?.message, /is not harbor-scan, by which alone a clean scan approves/)
  t.match(gateSettings.parse({ folder: '.', approve: true }), { as: 'harbor-scan' })
  t.match(gateSettings.parse({ folder: '.', as: 'trivy' }), { as: 'trivy', approve: false })
})

/** What is asked once no mark is in the way. */
const UNMARKED = 'registry.test'

t.test(
  'what a scan found stands until a clean scan, or until a person answers for it',
  async (t) => {
    const cwd = await temporaryFolder(t)
    await writeFile(
      join(cwd, 'crosscloud.yml'),
      `app: webapi
ledger: sqlite:ledger.db
identity: unverified
environments:
  test:
    image: registry.test/team/webapi
    hosts: { app-01: 'unix:///absent.sock' }
    gate: { approvals: 1 }
`,
    )
    const ledger = await openLedger(join(cwd, 'ledger.db'))
    t.teardown(() => ledger.close())
    const one = release('1.0.0')
    await ledger.recordRelease(one)
    const place = { folder: cwd, program: '', variables: {}, log: silentLog }
    const settled = gateSettings.parse({ folder: '.', environments: ['test'] })
    const effect = createGateEffect(settled, { ...place, secrets: createSecrets() })
    const scanned = async (severity: string) => {
      const facts = harbor.read({}, event('scanning_completed', {})) as EventFacts
      const { digest } = one
      const image = { registry: 'registry.test', repository: 'team/webapi', digest, tag: '1.0.0' }
      const scan = { state: 'success', severity }
      const times = { receivedAt: Date.now(), begunAt: Date.now(), confirm: async () => {} }
      const signal = AbortSignal.timeout(60_000)
      await effect({ id: '1', again: false, signal, ...times, facts: { ...facts, image, scan } })
    }
    const run = (...args: string[]) => runHere([...args, '--env', 'test', '--reason', 'x'], { cwd })
    const mark = (...args: string[]) => run('mark', 'webapi@1.0.0', ...args)
    /** Who keeps it out; what is asked next is the registry. */
    const forced = async () => {
      const { stderr } = await run('deploy', '--release', 'webapi@1.0.0', '--force')
      const bad = /known to be bad in test: (\S+) said so/.exec(stderr)
      return bad?.[1] ?? /registry\.test/.exec(stderr)?.[0]
    }

    await mark()
    t.equal(await forced(), UNMARKED, 'what a person said is overruled')
    await scanned('Critical')
    t.equal(await forced(), 'harbor-scan')
    await mark()
    t.equal(await forced(), 'harbor-scan', 'a person who says the same does not hide it')
    await scanned('None')
    const left = await ledger.findMark('webapi', 'test', '1.0.0')
    t.match(left, { bad: true, by: 'li' }, 'a clean scan takes back its own word alone')
    t.equal(await forced(), UNMARKED)
    await scanned('Critical')
    await mark('--good')
    t.match(await ledger.findMark('webapi', 'test', '1.0.0'), { bad: false, by: 'li' })
    t.equal(await forced(), UNMARKED, 'a person answered for it')
  },
)
