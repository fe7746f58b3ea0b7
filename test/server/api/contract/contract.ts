import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

/** A part of docs/openapi.json, references and all. */
export interface Schema {
  $ref?: string
  type?: string | string[]
  enum?: unknown[]
  default?: unknown
  description?: string
  pattern?: string
  format?: string
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
  maxItems?: number
  items?: Schema
  properties?: Record<string, Schema>
  required?: string[]
  additionalProperties?: boolean | object
  anyOf?: Schema[]
  oneOf?: Schema[]
}

export interface Parameter {
  name: string
  in: 'path' | 'query' | 'header'
  required: boolean
  schema: Schema
}

interface Content {
  description?: string
  content?: Record<string, { schema: Schema }>
}

export interface Operation {
  operationId: string
  summary?: string
  description?: string
  method: string
  path: string
  security?: object[]
  parameters?: Parameter[]
  requestBody?: Content
  responses: Record<string, Content>
}

interface Document {
  paths: Record<string, Record<string, Omit<Operation, 'method' | 'path'>>>
  components: { schemas: Record<string, Schema> }
}

const FILE = fileURLToPath(new URL('../../../../docs/openapi.json', import.meta.url))

export interface Contract {
  document: Document
  operations: Operation[]
  /** A schema itself, where a reference stands for it. */
  resolve(schema: Schema): Schema
  /** What is wrong with a response; nothing may be in it that its schema does not have. */
  problems(operation: Operation, response: Answered): string[]
}

export interface Answered {
  status: number
  type: string | null
  text: string
}

/** The document that the repository has: what a server answers is held to it. */
export async function readContract(): Promise<Contract> {
  const document: Document = JSON.parse(await readFile(FILE, 'utf8'))
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      ...operation,
      ...{ path, method: method.toUpperCase() },
    })),
  )
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  addFormats.default(ajv)
  const compiled = new Map<string, ValidateFunction>()
  const components = closed(document.components)
  const validatorOf = (schema: Schema) => {
    const key = JSON.stringify(schema)
    const found = compiled.get(key) ?? ajv.compile({ ...(closed(schema) as object), components })
    compiled.set(key, found)
    return found
  }
  const named = (ref: string) => document.components.schemas[ref.split('/').at(-1) ?? '']
  return {
    document,
    operations,
    resolve: (schema) => (schema.$ref ? (named(schema.$ref) ?? {}) : schema),
    problems({ responses, operationId }, { status, type, text }) {
      const declared = responses[status]
      if (declared === undefined) return [`${operationId} does not declare ${status}: ${text}`]
      const { content } = declared
      if (content === undefined) return text === '' ? [] : [`${status} has a body: ${text}`]
      const media = type?.split(';')[0] ?? ''
      const schema = content[media]?.schema
      if (schema === undefined) return [`${operationId} answers ${status} as ${type}`]
      if (!media.endsWith('json')) return []
      const validate = validatorOf(schema)
      if (validate(JSON.parse(text))) return []
      return [`${operationId} ${status}: ${ajv.errorsText(validate.errors)} in ${text}`]
    },
  }
}

/** The document lets answers grow; what this version answers, it must name. */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, item]) => [key, closed(item)] as const)
  const found: Record<string, unknown> = Object.fromEntries(entries)
  const isObject = found.type === 'object' && typeof found.properties === 'object'
  const isOpen = found.additionalProperties === undefined
  return isObject && isOpen ? { ...found, additionalProperties: false } : found
}

/** The operation of a request, by its method and the path that its route has. */
export function operationOf({ operations }: Contract, method: string, url: string) {
  const path = url.replace(/^\/api\/v1/, '').replace(/:(\w+)/g, '{$1}')
  return operations.find((each) => each.method === method && each.path === path)
}
