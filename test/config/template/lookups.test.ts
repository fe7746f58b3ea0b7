import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import t from 'tap'
import { prefetchLookups } from '../../../src/config/template/lookups.ts'
import { renderAll } from '../../../src/config/template/render.ts'
import { compileTemplates } from '../../../src/config/template/templates.ts'
import { failure, templates } from '../../support/data/templates.ts'

/** A name server that knows two services, and answers nothing at all for a third. */
async function startNameServer(t: { teardown(end: () => void): void }): Promise<string> {
  const socket = createSocket('udp4')
  socket.on('message', (query, { port, address }) => {
    const name: string[] = []
    let at = 12
    for (; query[at] !== 0; at += (query[at] ?? 0) + 1) {
      name.push(query.toString('latin1', at + 1, at + 1 + (query[at] ?? 0)))
    }
    const question = query.subarray(12, at + 5)
    const asked = name.join('.')
    if (asked.startsWith('_silent')) return
    const found = asked === '_sip._tcp.example.test' ? records : []
    const head = Buffer.from(query.subarray(0, 12))
    const failed = asked.startsWith('_broken') ? 2 : 3
    head.writeUInt16BE(found.length > 0 ? 0x8180 : 0x8180 | failed, 2)
    head.writeUInt16BE(found.length, 6)
    head.writeUInt32BE(0, 8)
    socket.send(Buffer.concat([head, question, ...found]), port, address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  t.teardown(() => void socket.close())
  return `127.0.0.1:${socket.address().port}`
}

const srv = (priority: number, weight: number, port: number, target: string) => {
  const labels = target
    .split('.')
    .map((label) => Buffer.from([label.length, ...Buffer.from(label)]))
  const data = Buffer.concat([Buffer.alloc(6), ...labels, Buffer.of(0)])
  data.writeUInt16BE(priority, 0)
  data.writeUInt16BE(weight, 2)
  data.writeUInt16BE(port, 4)
  // The question's name, SRV, IN, 60 seconds.
  const head = Buffer.from([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, data.length])
  return Buffer.concat([head, data])
}
const records = [srv(10, 5, 5061, 'b.example.test'), srv(20, 0, 5060, 'a.example.test')]

t.test('names are looked up before rendering', async (t) => {
  const servers = [await startNameServer(t)]
  const use = async (source: string, signal?: AbortSignal) => {
    const compiled = await compileTemplates(
      templates({ 'a.hbs': source, '_p.hbs': '\n{{lookupIP "no.invalid"}}' }),
    )
    const lookups = await prefetchLookups(compiled, { servers, timeout: 1500, signal })
    const rendered = renderAll({
      templates: compiled,
      snapshot: new Map(),
      environment: 'x',
      lookups,
    })
    return String(rendered.files[0]?.content)
  }
  t.equal(
    await use(
      '{{#each (lookupSRV "sip" "tcp" "example.test")}}{{target}}:{{port}} {{priority}}/{{weight}};{{/each}}',
    ),
    'a.example.test:5060 20/0;b.example.test:5061 10/5;',
  )
  t.equal(
    await use(
      '{{join (lookupIPV4 "127.0.0.1") ","}} {{join (lookupIPV6 "::1") ","}}{{len (lookupIPV6 "127.0.0.1")}}',
    ),
    '127.0.0.1 ::10',
  )
  t.match(await use('{{join (lookupIP "localhost") ","}}'), /127\.0\.0\.1|::1/)
  t.equal(
    await use('{{#if false}}{{lookupSRV "no" "tcp" "example.test"}}{{/if}}ok'),
    'ok',
    'not asked for',
  )
  const refused = (source: string) => failure(() => use(source))
  const none = await refused('\n{{len (lookupSRV "no" "tcp" "example.test")}}')
  t.equal(none.code, 'INPUT_INVALID')
  t.match(
    none.message,
    /^templates\/a\.hbs:2: lookupSRV: the network knows no _no\._tcp\.example\.test$/,
  )
  const computed = await refused('{{len (lookupIP (printf "%s" "localhost"))}}')
  t.match(
    computed.message,
    /^templates\/a\.hbs:1: lookupIP: only a name that is written in the template/,
  )
  t.match((await refused('{{len (lookupIP "a b")}}')).message, /knows no a b/)
  for (const [service, code] of [
    ['silent', 'ETIMEOUT'],
    ['broken', 'ESERVFAIL'],
  ]) {
    const error = await refused(`{{len (lookupSRV "${service}" "tcp" "example.test")}}`)
    t.equal(error.code, 'UNAVAILABLE')
    t.equal(error.exitCode, 75)
    t.match(error.message, new RegExp(`a\\.hbs:1: .*cannot look up .*${code}`))
    const both = await refused(`{{len (lookupSRV "${service}" "tcp" "example.test")}}{{getv "/a"}}`)
    t.equal(both.code, 'INPUT_INVALID', 'a missing key stays missing')
  }
  await t.rejects(use('{{lookupIP "localhost"}}', AbortSignal.abort()), { code: 'CANCELLED' })
})
