import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { missingProgram } from '../../../support/servers/server.ts'
import { type GeneratedRequest, type Known, requestsOf } from './arbitraries.ts'
import {
  type Answered,
  type Contract,
  type Operation,
  readContract,
  type Schema,
} from './contract.ts'
import { startRealServer } from './real-server.ts'

/*
 * Requests made from docs/openapi.json, to a real server. FC_SEED repeats a run, whose seed is in the
 * message of a failure; FC_RUNS tries so many requests of each operation, however long it takes.
 */
const RUNS = Number(process.env.FC_RUNS ?? 0)
const SEED = process.env.FC_SEED
/** Milliseconds for each operation, where nobody asks for more. */
const LIMIT = 1200
const MOST = 80
const LONGER: Readonly<Record<string, number>> = { makePlan: 3000, startRun: 6000 }
const skip = missingProgram('redis-server', 'redis-cli', 'git')

type Server = Awaited<ReturnType<typeof startRealServer>>

interface World {
  contract: Contract
  server: Server
  known: Known
  isAllowed(schema: Schema, value: unknown): boolean
}

if (skip) t.test('requests from the document', { skip }, async () => {})
else {
  t.test('whatever is sent, the server answers as its document says', async (t) => {
    const world = await openWorld(t)
    t.ok(world.contract.operations.length > 40, 'every request is tried')
    const target = '/api/v1/openapi.json'
    const { text } = await world.server.send({ method: 'GET', target })
    t.strictSame(JSON.parse(text), world.contract.document, 'it is served as it is in docs/')
    for (const operation of world.contract.operations) {
      await t.test(operation.operationId, (t) => tryOperation(t, operation, world))
    }
    await t.test('it is well afterwards, and its log has no secret', async (t) => {
      const { server } = world
      t.match(await ask(server, { method: 'GET', target: '/readyz' }), { status: 200 })
      t.match(await ask(server, { method: 'GET', target: '/api/v1/session' }), { status: 200 })
      const log = server.log()
      for (const secret of server.secrets) t.notMatch(log, secret)
      t.notMatch(log, /a request of the API failed|a request failed/)
    })
  })
}

async function openWorld(t: Test): Promise<World> {
  const [contract, server] = await Promise.all([readContract(), startRealServer(t)])
  const ajv = new Ajv2020({ strict: false })
  addFormats.default(ajv)
  const { components } = contract.document
  const validators = new Map<Schema, (value: unknown) => boolean>()
  const isAllowed = (schema: Schema, value: unknown) => {
    const found = validators.get(schema) ?? ajv.compile({ ...schema, components })
    validators.set(schema, found)
    return found(value)
  }
  const inputs = { release: 'webapi@1.0.0', env: 'test' }
  const post = async (target: string, body: object) => {
    const headers = { 'content-type': 'application/json' }
    const answer = await ask(server, {
      method: 'POST',
      target,
      headers,
      body: JSON.stringify(body),
    })
    return JSON.parse(answer.text)
  }
  const body = { app: 'webapi', step: 'deploy', inputs }
  const { run } = await post('/api/v1/runs', body)
  const { plan } = await post('/api/v1/plans', body)
  t.ok(run)
  t.ok(plan)
  const environments = ['test', 'staging', 'production', 'nowhere']
  const known = {
    ...{ app: [...Array(6).fill('webapi'), 'shop'], env: environments, source: environments },
    ...{ id: [run], cursor: [run, '1', '0'], plan: [plan], without: ['app-01'] },
    ...{ release: ['webapi@1.0.0', 'webapi@1.0.1', 'webapi@9.9.9'] },
    ...{ to: ['webapi@1.0.0', ...environments], reason: ['it fails'], 'last-event-id': ['0-0'] },
  }
  return { contract, server, known, isAllowed }
}

async function ask({ send, tokens }: Server, wanted: Parameters<Server['send']>[0]) {
  const authorization = `Bearer ${tokens.all}`
  return send({ ...wanted, headers: { ...wanted.headers, authorization } })
}

async function tryOperation(t: Test, operation: Operation, world: World) {
  const { contract, known, isAllowed } = world
  const arbitrary = requestsOf(operation, contract, known, isAllowed)
  const seen = new Map<string, number>()
  const end = performance.now() + (LONGER[operation.operationId] ?? LIMIT)
  const property = fc.asyncProperty(arbitrary, async (request) => {
    if (RUNS === 0 && seen.size > 0 && performance.now() > end) return
    const problems = await Promise.all(
      callers.map(async (by) => {
        const answer = await sendBy(by, request, world)
        seen.set(`${by} ${answer.status}`, (seen.get(`${by} ${answer.status}`) ?? 0) + 1)
        return problemsOf(answer, { by, request, operation }, world)
      }),
    )
    const found = problems.flat()
    if (found.length > 0) throw new Error(found.join('\n'))
  })
  await fc.assert(property, {
    numRuns: RUNS || MOST,
    ...(SEED && { seed: Number(SEED) }),
    endOnFailure: RUNS === 0,
  })
  t.pass([...seen].map(([what, count]) => `${what}: ${count}`).join(', '))
}

const callers = ['nobody', 'few', 'all'] as const
type By = (typeof callers)[number]

function sendBy(by: By, request: GeneratedRequest, { server }: World): Promise<Answered> {
  const { method, target, headers, body, credentials } = request
  const authorization = by === 'nobody' ? credentials : `Bearer ${server.tokens[by]}`
  return server.send({
    ...{ method, target: `/api/v1${target}`, body },
    headers: { ...headers, ...(authorization !== undefined && { authorization }) },
  })
}

interface Asked {
  by: By
  request: GeneratedRequest
  operation: Operation
}

function problemsOf(answer: Answered, { by, request, operation }: Asked, world: World) {
  const { status, text } = answer
  const { contract, server } = world
  const { secrets } = server
  const problems = contract.problems(operation, answer)
  if (status >= 500 && status !== 503) problems.push(`${status} ${text}`)
  if (secrets.some((secret) => text.includes(secret))) problems.push(`a secret: ${text}`)
  const isOpen = operation.security?.length !== undefined
  const refusal = request.unreadable ? 400 : 401
  if (by === 'nobody' && !isOpen && status !== refusal)
    problems.push(`${status} for nobody: ${text}`)
  const isRefused = status >= 400 && status < 500
  if (request.wrong && !isRefused) problems.push(`${status} for what the document forbids: ${text}`)
  return problems.map((problem) => `${by}: ${problem.slice(0, 1000)}`)
}
