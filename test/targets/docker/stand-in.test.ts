import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { Ajv } from 'ajv'
import t from 'tap'
import { parse } from 'yaml'
import { silentLog } from '../../../src/core/log.ts'
import { parseAddress } from '../../../src/targets/docker/address.ts'
import { connectDocker } from '../../../src/targets/docker/driver.ts'
import { parseHealth } from '../../../src/targets/docker/notation.ts'
import { rollOut } from '../../../src/targets/docker/rollout/rollout.ts'
import { noEngine, startEngine } from '../../support/servers/engine.ts'
import { type Response, recordImage, startStandIns } from '../../support/servers/stand-in-engine.ts'
import { importDemoImage } from '../../support/setups/demo-image.ts'
import { ROOT } from '../../support/unit-tests.ts'
import { settings } from './host-conformance.ts'

t.test(
  "engines of the bench respond as Docker's own description of its API says",
  { skip: noEngine('gcc') },
  async (t) => {
    const engine = await startEngine()
    t.teardown(() => engine.stop())
    const recorded = await recordImage(engine.docker, await importDemoImage(engine, 'demo', '1'))
    const { compare, described, seen } = await readContract()
    const engines = await startStandIns(1, recorded, {
      onResponse: (what: string, response: Response) => t.same(compare(what, response), [], what),
    })
    t.teardown(engines.stop)
    const { signal } = new AbortController()
    const address = parseAddress(engines.addresses[0] ?? '')
    const credentials = async () => undefined
    const host = await connectDocker({ name: 'app-01', address, credentials, signal })
    t.teardown(() => host.close())
    const content = Buffer.from('a=b')
    const spec = {
      name: 'demo',
      image: `registry.test/demo@sha256:${'0'.repeat(64)}`,
      labels: { a: 'b' },
      settings: { ...settings, health: { http: parseHealth(':8080/health'), timeout: 5000 } },
      files: [{ path: '/conf/app.conf', content, mode: 0o600, uid: 0, gid: 0 }],
    }
    const contents: string[] = []
    const verify = async (_host: unknown, { id }: { id: string }) => {
      const archive = Readable.from(await host.archive(id, '/app/ROOT/index.html'))
      contents.push((await buffer(archive)).toString())
      t.same((await host.changes(id)).changes, [
        { path: '/conf', kind: 'added' },
        { path: '/conf/app.conf', kind: 'added' },
      ])
    }
    for (const _ of ['first', 'second', 'third']) {
      await rollOut({ hosts: [host], spec, log: silentLog, signal, verify })
    }
    t.match(contents, [/demo 1/, /demo 1/, /demo 1/], 'the files are those of the image')
    t.match(await host.list({ a: 'b' }), [{ running: false }, { running: true }])
    t.equal(await host.inspect('nothing'), undefined)
    t.same([...described].sort(), [...seen].sort(), 'nothing is described that is not asked')
  },
)

interface Described {
  paths: Record<string, Record<string, { responses: Record<string, { schema?: object }> }>>
}

/** Compares responses with the extract of Docker's description. */
async function readContract() {
  const text = await readFile(join(ROOT, 'test/contracts/docker-engine.yaml'), 'utf8')
  const contract = parse(text) as Described & object
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false })
  ajv.addSchema(contract, 'engine')
  const described = Object.entries(contract.paths).flatMap(([path, verbs]) =>
    Object.keys(verbs).map((verb) => `${verb.toUpperCase()} ${path}`),
  )
  const seen = new Set<string>()
  const compare = (what: string, { status, body }: Response): string[] => {
    seen.add(what)
    const [verb = '', path = ''] = what.split(' ')
    const responses = contract.paths[path]?.[verb.toLowerCase()]?.responses
    const found = responses?.[status]
    if (!found) return [`${status} is not described`]
    if (!found.schema || typeof body !== 'object' || Buffer.isBuffer(body)) return []
    const pointer = ['paths', path, verb.toLowerCase(), 'responses', String(status), 'schema']
      .map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')))
      .join('/')
    const valid = ajv.getSchema(`engine#/${pointer}`)
    if (!valid) return [`no schema for ${status}`]
    if (valid(withoutNulls(body))) return []
    return (valid.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`)
  }
  return { compare, described, seen }
}

/** Swagger 2 has no null, which engines write for whatever is not there. */
function withoutNulls(body: object): unknown {
  return JSON.parse(JSON.stringify(body, (_key, value) => (value === null ? undefined : value)))
}
