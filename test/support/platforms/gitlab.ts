import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { parse, stringify } from 'yaml'
import { freePort, reach } from '../servers/ports.ts'
import { temporaryFolder } from '../temporary.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const CONTRACT = join(ROOT, 'test/contracts/gitlab-openapi.yaml')
const PRISM = join(ROOT, 'node_modules/@stoplight/prism-cli/dist/index.js')

type Row = Record<string, unknown>

/** A GitLab that remembers, in memory: only what `crosscloud gitlab` asks for. */
export interface TestGitlab {
  url: string
  /** Requests that changed something, `POST environments`. */
  changes: string[]
  /** By the last part of the path: environments, variables, hooks … */
  tables: Record<string, Row[]>
  /** The next requests get these codes. */
  failing: number[]
  /** The next such request gets this code: `POST hooks`. */
  failAt(request: string, status: number): void
  /** After so many changes every connection is cut. */
  dieAfter(changes: number): void
}

const KEYS: Record<string, string> = {
  environments: 'id',
  variables: 'key',
  protected_branches: 'name',
  protected_tags: 'name',
  hooks: 'id',
  resource_groups: 'key',
  protected_environments: 'name',
  deployments: 'id',
}
export const TOKEN = 'glpat-a-very-secret-token'

export async function startGitlab(
  t: Pick<Test, 'teardown'>,
  options: { premium?: boolean; project?: string } = {},
): Promise<TestGitlab> {
  const { premium = true, project = 'team/web api' } = options
  const tables = Object.fromEntries(Object.keys(KEYS).map((name) => [name, [] as Row[]]))
  const changes: string[] = []
  const failing: number[] = []
  let left = Number.POSITIVE_INFINITY
  let trap: { request: string; status: number } | undefined
  let id = 100
  const server = createServer(async (request, response) => {
    const respond = (status: number, body?: unknown) => {
      response.writeHead(status, status === 204 ? {} : { 'content-type': 'application/json' })
      response.end(body === undefined ? undefined : JSON.stringify(body))
    }
    const body = await readBody(request)
    const url = new URL(request.url ?? '/', 'http://gitlab')
    const parts = url.pathname.split('/').slice(3).map(decodeURIComponent)
    const method = request.method ?? 'GET'
    if (request.headers['private-token'] !== TOKEN)
      return respond(401, { message: '401 Unauthorized' })
    const failure = failing.shift()
    if (failure !== undefined) return respond(failure, { message: `${failure} no` })
    const [root = '', name = '', table = '', key, verb] = parts
    if (root === 'users')
      return respond(200, [{ id: 7, username: url.searchParams.get('username') }])
    if (root === 'groups') return respond(200, { id: 9, path: name })
    if (root !== 'projects' || name !== project) return respond(404, { message: '404 Not found' })
    if (table === '') return respond(200, { id: 20, path_with_namespace: project })
    const rows = tables[table]
    if (!rows || (table === 'protected_environments' && !premium)) {
      return respond(404, { message: '404 Not Found' })
    }
    if (method === 'GET' && key !== undefined) {
      const found = rows.find((row) => String(row[KEYS[table] ?? 'id']) === key)
      return found ? respond(200, found) : respond(404, { message: '404 Not Found' })
    }
    if (method === 'GET') return respond(200, rows)
    if (trap?.request === `${method} ${table}`) {
      const { status } = trap
      trap = undefined
      return respond(status, { message: `${status} no` })
    }
    if (left-- <= 0) return void request.socket.destroy()
    changes.push(`${method} ${table}`)
    const scope =
      url.searchParams.get('filter[environment_scope]') ??
      (body.filter as Row | undefined)?.environment_scope ??
      body.environment_scope ??
      '*'
    const found = rows.findIndex(
      (row) =>
        String(row[KEYS[table] ?? 'id']) === key &&
        (table !== 'variables' || row.environment_scope === scope),
    )
    if (method === 'POST' && key === undefined) {
      const made = fromBody(table, body, ++id)
      rows.push(made)
      return respond(201, made)
    }
    if (found < 0) return respond(404, { message: '404 Not Found' })
    if (verb === 'stop') {
      rows[found] = { ...rows[found], state: 'stopped' }
      return respond(201, rows[found])
    }
    if (method === 'DELETE') {
      if (table === 'environments' && rows[found]?.state !== 'stopped') return respond(403, {})
      rows.splice(found, 1)
      return respond(204)
    }
    rows[found] = { ...rows[found], ...fromBody(table, body, ++id, rows[found]) }
    return respond(200, rows[found])
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    changes,
    tables,
    failing,
    failAt(request, status) {
      trap = { request, status }
    },
    dieAfter(count) {
      left = count
    },
  }
}

/** What GitLab would keep of a request, and return. A webhook's token it never returns. */
function fromBody(table: string, body: Row, id: number, before: Row = {}): Row {
  const { filter: _filter, token: _token, ...rest } = body
  if (table === 'environments') return { id, state: 'available', ...before, ...rest }
  if (table === 'variables') return { environment_scope: '*', ...rest }
  if (table === 'hooks') return { id, push_events: true, ...before, ...rest }
  if (table === 'protected_branches') {
    const level = (access: unknown) => [{ id, access_level: access, access_level_description: '' }]
    return {
      id,
      name: body.name,
      push_access_levels: level(body.push_access_level),
      merge_access_levels: level(body.merge_access_level),
    }
  }
  if (table === 'protected_tags') {
    return {
      name: body.name,
      create_access_levels: [{ id, access_level: body.create_access_level }],
    }
  }
  if (table === 'protected_environments') {
    const part = (name: string) => {
      const kept = (before[name] as Row[] | undefined) ?? []
      const asked = (body[name] as Row[] | undefined) ?? []
      const gone = new Set(asked.filter((rule) => rule._destroy).map((rule) => rule.id))
      const added = asked
        .filter((rule) => !rule._destroy)
        .map((rule, n) => ({ id: id * 10 + n, ...rule }))
      return [...kept.filter((rule) => !gone.has(rule.id)), ...added]
    }
    return {
      name: body.name ?? before.name,
      deploy_access_levels: part('deploy_access_levels'),
      approval_rules: part('approval_rules'),
    }
  }
  return { ...before, ...rest }
}

async function readBody(request: IncomingMessage): Promise<Row> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString()
  return text === '' ? {} : (JSON.parse(text) as Row)
}

/** GitLab's own description of its API between us and `upstream`: wrong requests and responses fail. */
export async function startPrism(
  t: Pick<Test, 'teardown'>,
  upstream: string,
): Promise<{ url: string; log(): string }> {
  const folder = await temporaryFolder(t)
  const contract = join(folder, 'gitlab.yaml')
  await writeFile(contract, await correctedContract())
  const port = await freePort()
  const args = ['proxy', '--errors', '-h', '127.0.0.1', '-p', `${port}`, contract, upstream]
  const child = spawn(process.execPath, [PRISM, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      printed += text
    })
  }
  t.teardown(async () => {
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  for (let tries = 0; tries < 300; tries++) {
    try {
      await reach(port)
      const violations = () => printed.split('\n').filter((line) => /✖|iolation/.test(line))
      return { url: `http://127.0.0.1:${port}`, log: () => violations().join('\n') }
    } catch {
      if (child.exitCode !== null) break
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  throw new Error(`prism did not start:\n${printed}`)
}

/**
 * The published file describes some responses as they are not: lists as one object, numbers as texts,
 * 200 where 201 comes; a trigger's body as parts of the address, where every proxy's log would have
 * the token; and it leaves the list of users out. GitLab's documentation shows the real ones.
 */
async function correctedContract(): Promise<string> {
  const contract = parse(await readFile(CONTRACT, 'utf8'))
  const { paths, definitions } = contract
  const resolve = (schema: { $ref?: string }) => {
    const name = schema.$ref?.split('/').at(-1)
    return name === undefined ? schema : definitions[name]
  }
  const variables = paths['/api/v4/projects/{id}/variables'].get.responses['200']
  variables.schema = { type: 'array', items: variables.schema }
  const tag = resolve(
    paths['/api/v4/projects/{id}/protected_tags'].get.responses['200'].schema.items,
  )
  const levels = tag.properties.create_access_levels
  tag.properties.create_access_levels = { type: 'array', items: levels }
  const hook = paths['/api/v4/projects/{id}/hooks'].get.responses['200'].schema
  Object.assign(resolve(hook.items).properties, {
    id: { type: 'integer' },
    alert_status: { type: 'string' },
  })
  const events = paths['/api/v4/projects/{id}/events'].get.responses['200']
  events.schema = { type: 'array', items: events.schema }
  const { post: status } = paths['/api/v4/projects/{id}/statuses/{sha}']
  status.responses = { ...status.responses, 201: status.responses['200'] }
  const { post: trigger } = paths['/api/v4/projects/{id}/trigger/pipeline']
  const text = { type: 'string' }
  trigger.parameters = [
    { in: 'path', name: 'id', ...text, required: true },
    {
      in: 'body',
      name: 'body',
      required: true,
      schema: {
        type: 'object',
        required: ['token', 'ref'],
        properties: { token: text, ref: text, variables: { type: 'object' } },
      },
    },
  ]
  resolve(paths['/api/v4/groups/{id}'].get.responses['200'].schema).properties.id = {
    type: 'integer',
  }
  paths['/api/v4/users'] = {
    get: {
      parameters: [{ name: 'username', in: 'query', type: 'string' }],
      responses: { 200: { description: 'users', schema: { type: 'array' } } },
    },
  }
  return stringify(contract)
}
