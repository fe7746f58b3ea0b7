import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { renderTemplates } from '../../../../src/delivery/config/rendering.ts'
import { inSlot } from '../../../../src/targets/docker/slots.ts'
import { configFilesLabel, instanceLabels } from '../../../../src/targets/labels.ts'
import { slotOf } from '../../../../src/targets/slot.ts'
import { fillSlotValues } from '../../../../src/targets/slot-values.ts'
import { testContext } from '../../../support/context.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

/** A project whose `container:` and config centre are these, and its environment. */
async function open(t: Test, container: string) {
  const folder = await temporaryFolder(t)
  const settings = [
    'app: webapi',
    `container: ${container}`,
    'environments:',
    '  test:',
    '    image: registry.test/webapi',
    '    config: file:test.yaml',
    '    hosts: { app-01: { address: "tcp://app-01:2376", bind: 10.0.0.7 } }',
  ]
  await writeFile(join(folder, 'crosscloud.yml'), settings.join('\n'))
  await writeFile(join(folder, 'test.yaml'), 'name: shop\n')
  const context = testContext(t, folder)
  return { context, environment: await context.environment('test') }
}

const slots = (first: string, second: string) => `{ slots: [${first}, ${second}] }`
const plain = slots("'18081:8080'", "'18082:8080'")
const rich = slots(
  "{ ports: ['18081:8080', '19081:9090'], values: { shutdown: 18005 } }",
  "{ ports: ['18082:8080', '19082:9090'], env: { LIMIT: '2' }, values: { shutdown: 18006 } }",
)

t.test('an environment with slots starts its containers again after any crash', async (t) => {
  const { environment } = await open(t, plain)
  t.equal(environment.hosts[0]?.bind, '10.0.0.7')
  t.equal(environment.container.restart, 'always')
  t.equal((await open(t, '{ network: bridge }')).environment.container.restart, 'unless-stopped')
  t.match(environment.container.slots, [
    { ports: [{ hostPort: '18081', container: '8080/tcp' }] },
    { ports: [{ hostPort: '18082' }] },
  ])
})

t.test('a container is made for one of its slots', async (t) => {
  const { environment } = await open(t, rich)
  const { container } = environment
  if (!container.slots) throw new Error('no slots')
  const file = { path: '/c', content: Buffer.from('@crosscloud.slot.shutdown@'), mode: 0o444 }
  const files = [{ ...file, uid: 0, gid: 0 }]
  const labels = { [instanceLabels.configFiles]: configFilesLabel(files) }
  const spec = { name: 'web', image: 'x', labels, settings: container, files }
  const made = inSlot(spec, container.slots, 2)
  t.equal(slotOf(made.labels), 2)
  t.equal(made.files[0]?.content.toString(), '18006')
  t.equal(made.labels[instanceLabels.configFiles], configFilesLabel(made.files))
  t.same(made.settings.env, { CROSSCLOUD_SLOT: '2', CROSSCLOUD_SLOT_PORT: '18082', LIMIT: '2' })
  t.same(
    made.settings.ports.map(({ hostPort }) => hostPort),
    ['18082', '19082'],
  )
})

t.test('slots that cannot run side by side are refused before anything is changed', async (t) => {
  const table: [container: string, message: RegExp][] = [
    [slots("'8080'", "'18082:8080'"), /each port of a slot needs a port of the host/],
    [slots("'18081:8080'", "'18081:8080'"), /port 18081\/tcp is named twice/],
    [slots("'18081:8080'", "'18082:8081'"), /different ports of the container: 8080\/tcp and 8081/],
    ["{ slots: ['1:80', '2:80'], ports: ['443:443'] }", /publishes 443, which only one/],
    ["{ slots: ['1:80', '2:80'], on-volume: true }", /seen by the container that still serves/],
    [
      slots("{ ports: ['1:80'], values: { a: x } }", "'2:80'"),
      /the slots have different values: a and none/,
    ],
  ]
  for (const [container, message] of table) {
    const { environment } = await open(t, container)
    t.throws(() => environment.container, { code: 'INPUT_INVALID', message }, container)
  }
  for (const wrong of ["{ slots: ['1:80'] }", "{ slots: ['1:80', '2:80', '3:80'] }"]) {
    await t.rejects(open(t, wrong), { code: 'INPUT_INVALID', message: /needs two slots/ }, wrong)
  }
})

t.test('a template reads values of its slot, and the revision is the same for both', async (t) => {
  const render = async (container: string, template: string) => {
    const { context, environment } = await open(t, container)
    const resource = '[template]\nsrc = "a.hbs"\ndest = "/etc/a"\nkeys = ["/name"]\n'
    const source = { 'conf.d/a.toml': resource, 'templates/a.hbs': template }
    const files = new Map(
      Object.entries(source).map(([path, text]) => [path, Buffer.from(text)] as const),
    )
    return { environment, ...(await renderTemplates(environment, files, context)) }
  }
  const template = '{{getv "/name"}}:{{slot "shutdown"}}:{{slot "port"}}:{{slot "number"}}'
  const { environment, files, revision } = await render(rich, template)
  const content = files[0]?.content ?? Buffer.from('')
  t.equal(fillSlotValues(content, environment, 1).toString(), 'shop:18005:18081:1')
  t.equal(fillSlotValues(content, environment, 2).toString(), 'shop:18006:18082:2')
  const other = await render(rich.replace('18006', '18007'), template)
  t.equal(other.revision, revision, 'the values of a slot belong to the host, not to the config')
  await t.rejects(render(rich, '{{slot "jmx"}}'), {
    code: 'INPUT_INVALID',
    message: /slot "jmx": a slot has no value of this name/,
  })
  await t.rejects(render('{ network: host }', '{{slot "port"}}'), {
    message: /slot "port": the environment has no slots/,
  })
})
