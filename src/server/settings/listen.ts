import { isIP, isIPv6 } from 'node:net'
import { z } from 'zod'

/** Whether Fastify accepts it as a trusted proxy. */
function isProxy(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/')
  const named = ['loopback', 'linklocal', 'uniquelocal'].includes(text)
  const valid = isIP(address) > 0 && (bits === undefined || /^\d{1,3}$/.test(bits))
  return named || (valid && more.length === 0 && Number(bits ?? 0) <= (isIPv6(address) ? 128 : 32))
}

/** `listen:` in crosscloud.server.yml. */
export const listen = z.strictObject({
  host: z.string().default('0.0.0.0').describe('Address to listen on'),
  port: z.int().min(0).max(65535).default(8080).describe('Port to listen on'),
  tls: z
    .strictObject({
      cert: z.string().describe('PEM file of the certificate, with those between'),
      key: z.string().describe('PEM file of its key'),
    })
    .optional()
    .describe('Without, a proxy in front must speak TLS'),
  proxies: z
    .array(z.string().refine(isProxy, 'is no address and no network; write 10.0.0.0/8'))
    .default([])
    .describe(
      'Proxies in front, as addresses or networks; what they say of the client is believed',
    ),
  body: z
    .int()
    .min(1024)
    .default(5 * 1024 * 1024)
    .describe('Longest delivery, in bytes'),
  rate: z
    .int()
    .min(1)
    .default(600)
    .describe('Most requests a second from one address; above it gets 429'),
})
