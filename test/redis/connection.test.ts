import { join } from 'node:path'
import t from 'tap'
import { parseRedisUrl } from '../../src/redis/address.ts'
import { connectRedis } from '../../src/redis/connection.ts'
import { temporaryFolder } from '../support/temporary.ts'

t.test('a server that does not answer is named, and how long it is waited for', async (t) => {
  const address = parseRedisUrl(
    `redis+unix://:swordfish@${join(await temporaryFolder(t), 's')}?db=1`,
  )
  const controller = new AbortController()
  const told: string[] = []
  const info = (text: string) => {
    told.push(text)
    controller.abort()
  }
  const { signal } = controller
  const connection = await connectRedis(address, { signal, log: { info }, tellAfter: 0 })
  t.teardown(() => connection.close())
  await t.rejects(
    connection.use((redis) => redis.get('/a')),
    { code: 'CANCELLED' },
  )
  t.strictSame(told, [`${address.name} has not answered yet; waiting for it, 142 s at most`])
})
