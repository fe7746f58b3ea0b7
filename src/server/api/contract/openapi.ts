import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify'
import { z } from 'zod'
import { streamEvents } from '../../../api/events.ts'
import { problem } from '../../../api/problem.ts'
import * as reads from '../../../api/reads.ts'
import { planAnswer, run } from '../../../api/runs.ts'
import { stepRequests } from '../../runs/requests.ts'
import { stalePlan } from './answers.ts'
import { operations } from './operations.ts'

type Json = Record<string, unknown>

export interface Route extends Pick<RouteOptions, 'method' | 'url'> {
  schema: FastifySchema | undefined
}

/** What the document names, so that it is there once. */
const pascal = (name: string) =>
  name.replace(/(?:^|-)(\w)/g, (_all, letter: string) => letter.toUpperCase())
const requests = Object.entries(stepRequests)
const named: Readonly<Record<string, z.ZodType>> = {
  ...{ Problem: problem, StalePlan: stalePlan, Plan: planAnswer, Run: run },
  ...Object.fromEntries(
    Object.entries(streamEvents).map(([name, schema]) => [pascal(name), schema]),
  ),
  ...{ Release: reads.release, Deployment: reads.deployment, StatusCell: reads.statusCell },
  AuditRecord: reads.auditRecord,
  ...Object.fromEntries(requests.map(([name, schema]) => [`${pascal(name)}Request`, schema])),
}

/** As a client has to send it, and as it may be answered. */
function jsonOf(schema: z.ZodType): Json {
  const json = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      // What says nothing: a date's pattern beside its format, that names are texts.
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
      delete jsonSchema.propertyNames
    },
  }) as Json
  delete json.$schema
  return json
}

/** Each named schema becomes a reference, but not inside itself. */
function referring(value: unknown, names: ReadonlyMap<string, string>, isRoot = false): unknown {
  if (typeof value !== 'object' || value === null) return value
  const name = isRoot ? undefined : names.get(JSON.stringify(value))
  if (name !== undefined) return { $ref: `#/components/schemas/${name}` }
  if (Array.isArray(value)) return value.map((item) => referring(item, names))
  const entries = Object.entries(value).map(([key, item]) => [key, referring(item, names)])
  return Object.fromEntries(entries)
}

/** The schemas of a route in the words of JSON. */
function described(value: unknown, names: ReadonlyMap<string, string>): unknown {
  if (value instanceof z.ZodType) return referring(jsonOf(value), names)
  if (Array.isArray(value) || typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, item]) => [key, described(item, names)])
  return Object.fromEntries(entries)
}

const securitySchemes = {
  session: {
    type: 'http',
    scheme: 'DPoP',
    description: 'A session of a job (RFC 9449): Authorization: DPoP SESSION, with a proof',
  },
  proof: {
    type: 'apiKey',
    in: 'header',
    name: 'DPoP',
    description: 'A new proof for each request: its method, its URL, the hash of the session',
  },
  token: {
    type: 'http',
    scheme: 'bearer',
    description: 'An API token, made by `crosscloud tokens create`',
  },
} as const

/** OpenAPI 3.1 of these routes. */
export async function describeRoutes(routes: readonly Route[]): Promise<Json> {
  const [{ default: fastify }, { default: swagger }] = await Promise.all([
    import('fastify'),
    import('@fastify/swagger'),
  ])
  const schemas = Object.entries(named).map(([name, schema]) => [name, jsonOf(schema)] as const)
  const names = new Map(schemas.map(([name, schema]) => [JSON.stringify(schema), name]))
  const app = fastify()
  app.setValidatorCompiler(() => () => true).setSerializerCompiler(() => JSON.stringify)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.1',
      info: {
        title: 'crosscloud',
        version: '1',
        description:
          'Steps over HTTP, and what may be read. What the caller may not view is 404. Version 1 only grows: ignore members that you do not know.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/api/v1' }],
      security: [{ session: [], proof: [] }, { token: [] }],
      components: {
        securitySchemes,
        schemas: Object.fromEntries(
          schemas.map(([name, schema]) => [name, referring(schema, names, true)]),
        ) as never,
      },
    },
  })
  for (const { method, url, schema } of routes) {
    const [operationId] = Object.entries(operations).find(([, known]) => known === schema) ?? []
    if (operationId === undefined) throw new Error(`${method} ${url} is not among the operations`)
    const json = { operationId, ...(described(schema, names) as object) }
    app.route({ method, url, schema: json, handler: async () => {} })
  }
  await app.ready()
  const document = app.swagger() as unknown as Json
  await app.close()
  return document
}

/** `GET openapi.json`: made when somebody asks for it first. */
export function addOpenapi(api: FastifyInstance, routes: readonly Route[]): void {
  let made: Promise<Json> | undefined
  api.get('/openapi.json', { schema: operations.openapi }, async () => {
    made ??= describeRoutes(routes)
    return made
  })
}
