import { copyFile, readFile } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import t from 'tap'
import { makeCertificates } from '../support/data/certificates.ts'
import { fetchText } from '../support/servers/http.ts'
import { freePort } from '../support/servers/ports.ts'
import { missingProgram } from '../support/servers/server.ts'
import { deliver, startQueueRedis, startWebhookServer } from '../support/servers/webhooks.ts'
import { temporaryFolder } from '../support/temporary.ts'

const SECRET = 'a-secret-of-the-test-1'
const skip = missingProgram('redis-server', 'redis-cli')

t.test('metrics need their token, and deliveries over the rate get 429', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const settings = {
    queue: { redis: redis.url },
    gitlab: { secrets: [SECRET], projects: ['team/*'] },
    metrics: { token: 'a-token-for-prometheus' },
    listen: { host: '127.0.0.1', port: 0, rate: 20 },
  }
  const server = await startWebhookServer(t, settings)
  const url = /listening on (\S+)/.exec(server.running.output())?.[1] ?? ''
  const port = Number(new URL(url).port)
  t.match(await fetchText(`${url}/metrics`), { status: 401 })
  const response = await fetch(`${url}/metrics`, {
    headers: { authorization: 'Bearer a-token-for-prometheus' },
  })
  t.equal(response.status, 200)
  t.match(await response.text(), 'crosscloud_deliveries_total')
  const answers = await Promise.all(
    Array.from({ length: 60 }, () => deliver(port, '/webhooks/gitlab', {}, '{}')),
  )
  t.ok(answers.some(({ status }) => status === 429))
  t.notOk(answers.some(({ status }) => status >= 500))
})

t.test('TLS is served, and a trusted proxy names the client', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const folder = join(await temporaryFolder(t), 'tls')
  await makeCertificates(folder)
  const tls = { cert: join(folder, 'server.pem'), key: join(folder, 'server-key.pem') }
  const port = await freePort()
  const server = await startWebhookServer(t, {
    queue: { redis: redis.url },
    gitlab: { secrets: [SECRET], projects: ['team/*'] },
    listen: { host: '127.0.0.1', port, tls, rate: 5, proxies: ['127.0.0.0/8'] },
  })
  t.match(server.running.output(), `listening on https://127.0.0.1:${port}`)
  let ca = await readFile(join(folder, 'ca.pem'))
  const ask = (path: string, method: string, headers: Record<string, string> = {}) =>
    new Promise<number | undefined>((resolve, reject) => {
      const options = { host: '127.0.0.1', port, path, method, headers, ca, agent: false as const }
      request(options, (response) => resolve(response.resume().statusCode))
        .on('error', reject)
        .end()
    })
  t.equal(await ask('/readyz', 'GET'), 200)
  t.equal(await ask('/metrics', 'GET'), 200)
  t.equal(
    await ask('/metrics', 'GET', { 'x-forwarded-for': '127.0.0.1' }),
    401,
    'by way of a proxy',
  )
  const from = (client: string) => ask('/webhooks/gitlab', 'POST', { 'x-forwarded-for': client })
  const one = await Promise.all(Array.from({ length: 20 }, () => from('192.0.2.1')))
  t.ok(one.includes(429))
  t.equal(await from('192.0.2.2'), 401, 'another client is not held up')

  const renewed = join(await temporaryFolder(t), 'tls')
  await makeCertificates(renewed)
  await copyFile(join(renewed, 'server.pem'), tls.cert)
  await server.running.until('the old certificate is still used')
  t.equal(await ask('/readyz', 'GET'), 200, 'half of the new one is none')
  await copyFile(join(renewed, 'server-key.pem'), tls.key)
  await server.running.until('the new certificate is used')
  await t.rejects(ask('/readyz', 'GET'), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
  ca = await readFile(join(renewed, 'ca.pem'))
  t.equal(await ask('/readyz', 'GET'), 200)
})
