import t from 'tap'
import { readConfigSchema } from '../../../src/config/rules/schema.ts'

const files = (name: string, text: string) => new Map([[name, Buffer.from(text)]])

async function schemaOf(text: string, name = 'config.schema.yaml') {
  const schema = await readConfigSchema(files(name, text))
  if (schema === undefined) throw new Error('no schema')
  return schema
}

const COMPACT = `
/webapi/db/url: { pattern: '^jdbc:', required: true }
/webapi/db/password: secret required
/webapi/db/pool: { type: integer, minimum: 1, maximum: 100 }
/webapi/feature/*: boolean
/webapi/host: hostname
/webapi/token/url: { secret: false }
/webapi/level: { enum: [info, debug] }
`

const JSON_SCHEMA = JSON.stringify({
  type: 'object',
  required: ['/webapi/db/url', '/webapi/db/password'],
  properties: {
    '/webapi/db/url': { type: 'string', pattern: '^jdbc:' },
    '/webapi/db/password': { type: 'string', writeOnly: true },
    '/webapi/db/pool': { type: 'integer', minimum: 1, maximum: 100 },
    '/webapi/host': { format: 'hostname', type: 'string' },
    '/webapi/token/url': { secret: false },
    '/webapi/level': { enum: ['info', 'debug'] },
  },
  patternProperties: { '^/webapi/feature/[^/]*$': { type: 'boolean' } },
})

for (const [form, name, text] of [
  ['compact', 'config.schema.yaml', COMPACT],
  ['JSON Schema', 'config.schema.json', JSON_SCHEMA],
] as const) {
  t.test(`values against a schema: ${form}`, async (t) => {
    const schema = await schemaOf(text, name)
    t.equal(schema.file, name)
    const good = {
      '/webapi/db/url': 'jdbc:mariadb://db/webapi',
      '/webapi/db/password': 'anything',
      '/webapi/db/pool': '10',
      '/webapi/feature/search': 'true',
      '/webapi/host': 'db.example.com',
      '/webapi/level': 'info',
      '/other': 'not in the schema',
    }
    t.same(schema.check(new Map(Object.entries(good))), [])
    for (const [key, value, why] of [
      ['/webapi/db/url', 'sentinel:mariadb', /must match pattern/],
      ['/webapi/db/pool', '0', /must be >= 1/],
      ['/webapi/db/pool', ' 10', /must be integer/],
      ['/webapi/db/pool', '1e1', /must be integer/],
      ['/webapi/db/pool', '', /must be integer/],
      ['/webapi/feature/x', 'yes', /must be boolean/],
      ['/webapi/host', 'no host', /must match format "hostname"/],
      ['/webapi/level', 'sentinel', /must be equal to one of the allowed values: info, debug/],
    ] as const) {
      const problems = schema.check(new Map([[key, value]]))
      t.equal(problems.length, 1, `${key} ${value}`)
      t.match(problems[0], why)
      t.ok(problems[0]?.startsWith(`key ${key} `))
      t.notMatch(problems[0], /sentinel/)
    }
    t.same(schema.missing(new Set(['/webapi/db/url'])), [
      `key /webapi/db/password is missing; ${name} requires it`,
    ])
    t.equal(schema.secret('/webapi/db/password'), true)
    t.equal(schema.secret('/webapi/token/url'), false)
    t.equal(schema.secret('/webapi/host'), undefined)
  })
}

t.test('a folder without a schema has none, and an invalid schema is refused', async (t) => {
  t.equal(await readConfigSchema(new Map()), undefined)
  t.same((await schemaOf('')).check(new Map([['/a', 'b']])), [])
  const closed = await schemaOf('{"properties":{"/a":{}},"additionalProperties":false}')
  t.same(closed.check(new Map([['/b', 'x']])), ['key /b is not in config.schema.yaml'])
  for (const [text, why] of [
    ['[1]', /must map keys/],
    ['a: [', /^config\.schema\.yaml: /],
    ['/a: 3', /\/a: write a kind/],
    ['/a: intger', /"intger" is not known; use string, integer/],
    ['/a//b: string', /empty segment/],
    ['/a/*: string required', /cannot be required/],
    ['/a: { type: text }', /type/],
    ['/a: { minimun: 3 }', /unknown keyword: "minimun"/],
    ["/a: { pattern: '(' }", /config\.schema\.yaml: /],
  ] as const) {
    await t.rejects(schemaOf(text), { code: 'INPUT_INVALID', message: why }, text)
  }
})
