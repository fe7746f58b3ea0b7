import { readFile } from 'node:fs/promises'
import t from 'tap'
import { remoteStepNames } from '../../../../src/server/runs/steps.ts'
import { loadSteps } from '../../../../src/steps/index.ts'
import { remoteInputs } from '../../../../src/steps/inputs.ts'
import { readContract } from './contract.ts'

t.test('each step over HTTP is described with the inputs of its definition', async (t) => {
  const { document } = await readContract()
  const steps = (await loadSteps()).filter(({ name }) => remoteStepNames.includes(name))
  t.equal(steps.length, remoteStepNames.length)
  for (const step of steps) {
    const found = Object.values(document.components.schemas).find(
      ({ properties }) => properties?.step?.enum?.[0] === step.name,
    )
    const inputs = found?.properties?.inputs
    // A plan is a request of its own.
    const names = remoteInputs(step).filter((name) => name !== 'plan')
    t.strictSame(Object.keys(inputs?.properties ?? {}), names, step.name)
    t.equal(inputs?.additionalProperties, false, 'and no other')
    for (const [name, input] of Object.entries(inputs?.properties ?? {})) {
      t.ok(input.description, `${step.name}: ${name} is described`)
    }
  }
})

t.test('every request is described in words, and by whom it may be made', async (t) => {
  const { operations } = await readContract()
  for (const { operationId, summary, description, security, responses } of operations) {
    t.ok(summary, operationId)
    t.match(description, /\.$/, operationId)
    for (const [status, { description }] of Object.entries(responses)) {
      t.not(description, 'Default Response', `${operationId} ${status}`)
    }
    if (operationId === 'openapi') t.strictSame(security, [])
    else if (operationId === 'startSession') t.strictSame(security, [{ proof: [] }])
    else t.equal(security, undefined, 'what holds for the whole document')
  }
})

const PLACE = 'applications/APP/environments/ENV'

t.test(
  'the tables of docs/server.md and docs/api.md have the requests of openapi.json',
  async (t) => {
    const { operations } = await readContract()
    const read = (name: string) =>
      readFile(new URL(`../../../../docs/${name}.md`, import.meta.url), 'utf8')
    const [, table = ''] = (await read('server')).split('## API')
    const text = `${table}${await read('api')}`.replace(/PLACE|…(?=\/config)/g, PLACE)
    // Those of a browser begin with a slash: they are not below /api/v1.
    const written = [...text.matchAll(/`(GET|POST|PATCH|DELETE) ([a-z][^`? {]*)[^`]*`/g)].map(
      ([, method, path = '']) => `${method} /${path.replace(/\b(ID|APP|ENV|VERSION)\b/g, '{}')}`,
    )
    const known = operations.map(
      ({ method, path }) => `${method} ${path.replace(/\{\w+\}/g, '{}')}`,
    )
    t.strictSame([...new Set(written)].sort(), known.sort())
  },
)
