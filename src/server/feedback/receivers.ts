import { createHmac } from 'node:crypto'
import { StepError } from '../../core/errors.ts'
import type { HttpClient } from '../../core/http/client.ts'
import { type CallResponse, call } from '../platforms/http.ts'
import { SIGNING_KEY, signingKey } from '../sources/source.ts'
import type { AuditHeadOf, Notice } from './notice.ts'

/** A message to send. `url` is a secret and never shown; `name` is shown. */
export interface OutgoingMessage {
  http: HttpClient
  name: string
  url: string
  secret: string | undefined
  /** It contains texts from outside: no receiver may read them as markup. */
  message: string
  notice: Notice
  auditHeads: readonly AuditHeadOf[]
  signal: AbortSignal
}

type Receiver = (outgoing: OutgoingMessage) => Promise<void>

async function send(
  { http, name, signal }: OutgoingMessage,
  url: string,
  more: object,
): Promise<CallResponse> {
  const what = `notifying ${name}`
  try {
    const response = await call({ http, what, server: name, url, method: 'POST', signal, ...more })
    if (response.status < 300) return response
    throw new StepError(
      'INPUT_INVALID',
      `${what}: ${name} answers ${response.status}, a redirect`,
      {
        hint: 'Check its address: messages are sent to it alone.',
      },
    )
  } catch (error) {
    throw withoutSecrets(url, error)
  }
}

/** Errors of servers may repeat the URL, whose path and query are secret. */
function withoutSecrets(url: string, error: unknown): unknown {
  if (!(error instanceof StepError)) return error
  const hidden = hide(url, error.message)
  if (hidden === error.message) return error
  return error.with({ message: hidden, args: undefined, cause: undefined })
}

function hide(url: string, text: string): string {
  const { pathname, search, searchParams } = new URL(url)
  const raw = search.slice(1).split(/[&=]/)
  const parts = [url, search, ...searchParams.values(), ...raw, pathname, ...pathname.split('/')]
  return parts
    .filter((part) => part.length >= 8)
    .sort((a, b) => b.length - a.length)
    .reduce((hidden, part) => hidden.replaceAll(part, '…'), text)
}

/** Signed after Standard Webhooks: https://www.standardwebhooks.com */
const webhook: Receiver = async (outgoing) => {
  const { url, secret = '', notice, message, auditHeads } = outgoing
  const heads = auditHeads.length > 0 && { auditHeads }
  const text = JSON.stringify({ ...notice, message, ...heads })
  const timestamp = Math.floor(Date.now() / 1000)
  const key = secret.startsWith(SIGNING_KEY) ? signingKey(secret) : secret
  const signed = `${notice.id}.${timestamp}.${text}`
  const signature = createHmac('sha256', key).update(signed).digest('base64')
  await send(outgoing, url, {
    text,
    headers: {
      'content-type': 'application/json',
      'idempotency-key': notice.id,
      'webhook-id': notice.id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': `v1,${signature}`,
    },
  })
}

/** https://docs.slack.dev/messaging/formatting-message-text: these three, and links in <…|…>. */
const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/**
 * Mattermost also interprets @all and [text](link), and has no option against that:
 * https://docs.mattermost.com/developers/integrate/slash-commands/slack
 */
const unread = (text: string) => text.replaceAll('@', '@\u200b').replaceAll('](', ']\u200b(')

const slack: Receiver = async (outgoing) => {
  const { url, message, notice } = outgoing
  const link = notice.url && !/[|<>\s]/.test(notice.url) ? escaped(notice.url) : ''
  const page = link && `\n<${link}|details>`
  await send(outgoing, url, { json: { text: `${escaped(unread(message))}${page}` } })
}

/** Escapes links, headings and mentions of Markdown. */
const plain = (text: string) =>
  text.replace(/[\\`*_[\]()<>#|!~]/g, '\\$&').replaceAll('@', '@\u200b')

const page = ({ notice: { url } }: OutgoingMessage) =>
  url && !/[()<>\s]/.test(url) ? `\n\n[details](${url})` : ''

interface Robot {
  /** Over its rate limit. */
  busy: readonly number[]
  /** The token, the signature or a keyword is wrong. */
  refused: readonly number[]
}

/** Robots respond with 200 in any case; errcode has the result. */
function checkResult(
  { name, url }: OutgoingMessage,
  response: CallResponse,
  { busy, refused }: Robot,
): void {
  const body = response.json() as { errcode?: unknown; errmsg?: unknown } | null | undefined
  // A page of a proxy, or about maintenance.
  if (!body) throw new StepError('UNAVAILABLE', `notifying ${name}: it answers what is no JSON`)
  const { errcode, errmsg } = body
  if (errcode === 0) return
  const number = Number(errcode)
  const reason = typeof errmsg === 'string' ? hide(url, errmsg.slice(0, 200)) : ''
  const message = `notifying ${name}: it answers errcode ${errcode}${reason && `: ${reason}`}`
  if (busy.includes(number)) throw new StepError('UNAVAILABLE', message)
  const code = refused.includes(number) ? 'UNAUTHORIZED' : 'INPUT_INVALID'
  throw new StepError(code, message, { hint: "Check the robot's address, secret and keywords." })
}

/** Bytes of UTF-8. */
const LONGEST_DINGTALK = 18_000

/** https://open.dingtalk.com/document/robots/custom-robot-access */
const dingtalk: Receiver = async (outgoing) => {
  const { secret, message, notice } = outgoing
  const url = new URL(outgoing.url)
  if (secret !== undefined) {
    const timestamp = String(Date.now())
    const signed = `${timestamp}\n${secret}`
    url.searchParams.set('timestamp', timestamp)
    url.searchParams.set('sign', createHmac('sha256', secret).update(signed).digest('base64'))
  }
  const title = plain(`${notice.route} ${notice.what}`)
  const lines = plain(message).replaceAll('\n', '\n\n')
  const text = `${cut(lines, LONGEST_DINGTALK)}${page(outgoing)}`
  const json = { msgtype: 'markdown', markdown: { title, text } }
  const response = await send(outgoing, url.href, { json })
  checkResult(outgoing, response, { busy: [130101, 90018, -1], refused: [310000, 300001, 300005] })
}

/** Bytes of UTF-8. */
const LONGEST_WECOM = 4096

/** https://developer.work.weixin.qq.com/document/path/91770 */
const wecom: Receiver = async (outgoing) => {
  const link = page(outgoing)
  const end = Buffer.byteLength(link) <= LONGEST_WECOM / 2 ? link : ''
  const text = cut(plain(outgoing.message), LONGEST_WECOM - Buffer.byteLength(end))
    // A backslash whose escaped character was cut off.
    .replace(/(?<!\\)((?:\\\\)*)\\$/, '$1')
  const json = { msgtype: 'markdown', markdown: { content: `${text}${end}` } }
  const response = await send(outgoing, outgoing.url, { json })
  checkResult(outgoing, response, { busy: [45009, -1], refused: [93000, 40001] })
}

/** Cuts to at most so many bytes, without half a character at the end. */
export function cut(text: string, bytes: number): string {
  const content = Buffer.from(text)
  if (content.length <= bytes) return content.toString('utf8')
  let end = Math.max(bytes, 0)
  // A byte 10xxxxxx continues the character before it.
  while (end > 0 && ((content[end] ?? 0) & 0xc0) === 0x80) end--
  return content.subarray(0, end).toString('utf8')
}

export const receivers = { webhook, slack, dingtalk, wecom }
