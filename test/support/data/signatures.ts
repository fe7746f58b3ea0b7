import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** How each sender proves that it knows the secret, as its documentation says. */
export const hex = (secret: string, body: string | Buffer) =>
  createHmac('sha256', secret).update(body).digest('hex')

export const SIGNING_SECRET = `whsec_${Buffer.from('a signing key of the tests').toString('base64')}`

export function standardHeaders(
  body: string | Buffer,
  { id = 'msg_1', secret = SIGNING_SECRET, seconds = Math.floor(Date.now() / 1000) } = {},
): Record<string, string> {
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64')
  const signature = createHmac('sha256', key)
    .update(`${id}.${seconds}.`)
    .update(body)
    .digest('base64')
  return {
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': `v1,${signature}`,
  }
}

export function githubHeaders(
  event: string,
  secret: string,
  body: string | Buffer,
  id = 'd1',
): Record<string, string> {
  return {
    'x-github-event': event,
    'x-github-delivery': id,
    'x-hub-signature-256': `sha256=${hex(secret, body)}`,
  }
}

/** A payload as its sender would write it: `gitlab/push`. */
export const fixture = (name: string): Record<string, unknown> =>
  JSON.parse(
    readFileSync(new URL(`../../server/fixtures/${name}.json`, import.meta.url), 'utf8'),
  ) as Record<string, unknown>

/** What a Gitea has sent, by what it was about; bodies and signatures are its own. */
export const gitea = JSON.parse(
  readFileSync(new URL('../../server/fixtures/gitea-deliveries.json', import.meta.url), 'utf8'),
) as { secret: string; deliveries: GiteaDelivery[] }

export interface GiteaDelivery {
  name: string
  headers: Record<string, string>
  body: string
}

export function giteaDelivery(name: string): GiteaDelivery {
  const found = gitea.deliveries.find((delivery) => delivery.name === name)
  if (found) return found
  throw new Error(`Gitea's deliveries have no ${name}`)
}
