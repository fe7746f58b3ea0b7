import fastify from 'fastify'
import { silentLog } from '../src/core/log.ts'
import { addApi } from '../src/server/api/api.ts'
import type { ApiDependencies } from '../src/server/api/dependencies.ts'

/** openapi.json as the server gives it; its routes are added, and none is asked. */
export async function openapiJson(): Promise<string> {
  const app = fastify()
  const none = {
    ...{ sessions: {}, secrets: { mask: (text: string) => text }, rate: 1, log: silentLog },
    ...{ access: { redis: {}, base: '' }, applications: { names: [] } },
  }
  await addApi(app, none as unknown as ApiDependencies)
  const answer = await app.inject('/api/v1/openapi.json')
  await app.close()
  if (answer.statusCode !== 200) throw new Error(answer.body)
  return `${JSON.stringify(answer.json(), null, 2)}\n`
}
