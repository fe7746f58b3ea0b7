import { createHmac } from 'node:crypto'
import { StepError } from '../../core/errors.ts'
import type { HttpClient } from '../../core/http/client.ts'
import { type CallResponse, call } from '../platforms/http.ts'
import { SIGNING_KEY, signingKey } from '../sources/source.ts'
import type { Notice } from './notify.ts'

/** A message on its way. `url` holds a secret: it is never shown, `name` is. */
export interface Dispatch {
  http: HttpClient
  name: string
  url: string
  secret: string | undefined
  /** Texts of people are in it: nothing in it may be read as markup. */
  message: string
  notice: Notice
  signal: AbortSignal
}

type Receiver = (dispatch: Dispatch) => Promise<void>

async function send(
  { http, name, signal }: Dispatch,
  url: string,
  more: object,
): Promise<CallResponse> {
  const what = `telling ${name}`
  try {
    const answer = await call({ http, what, server: name, url, method: 'POST', signal, ...more })
    if (answer.status < 300) return answer
    throw new StepError('INPUT_INVALID', `${what}: ${name} answers ${answer.status}, a redirect`, {
      hint: 'Check its address: messages are sent to it alone.',
    })
  } catch (error) {
    throw withoutSecrets(url, error)
  }
}

/** Servers tell in their errors what they were asked for: the path and the query are the secret. */
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
const webhook: Receiver = async (dispatch) => {
  const { url, secret = '', notice, message } = dispatch
  const text = JSON.stringify({ ...notice, message })
  const timestamp = Math.floor(Date.now() / 1000)
  const key = secret.startsWith(SIGNING_KEY) ? signingKey(secret) : secret
  const signed = `${notice.id}.${timestamp}.${text}`
  const signature = createHmac('sha256', key).update(signed).digest('base64')
  await send(dispatch, url, {
    text,
    headers: {
      ...{ 'content-type': 'application/json', 'idempotency-key': notice.id },
      ...{ 'webhook-id': notice.id, 'webhook-timestamp': String(timestamp) },
      'webhook-signature': `v1,${signature}`,
    },
  })
}

/** https://docs.slack.dev/messaging/formatting-message-text: these three, and links in <…|…>. */
const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/**
 * Mattermost reads @all and [text](link), too, and nothing turns that off:
 * https://docs.mattermost.com/developers/integrate/slash-commands/slack
 */
const unread = (text: string) => text.replaceAll('@', '@\u200b').replaceAll('](', ']\u200b(')

const slack: Receiver = async (dispatch) => {
  const { url, message, notice } = dispatch
  const link = notice.url && !/[|<>\s]/.test(notice.url) ? escaped(notice.url) : ''
  const page = link && `\n<${link}|details>`
  await send(dispatch, url, { json: { text: `${escaped(unread(message))}${page}` } })
}

/** What Markdown would read as a link, a heading or an order to call everybody. */
const plain = (text: string) =>
  text.replace(/[\\`*_[\]()<>#|!~]/g, '\\$&').replaceAll('@', '@\u200b')

const page = ({ notice: { url } }: Dispatch) =>
  url && !/[()<>\s]/.test(url) ? `\n\n[details](${url})` : ''

interface Robot {
  /** It asks for patience. */
  busy: readonly number[]
  /** The token, the signature or a keyword is wrong. */
  refused: readonly number[]
}

/** Robots answer 200 whatever happened; errcode says what. */
function judge({ name, url }: Dispatch, answer: CallResponse, { busy, refused }: Robot): void {
  const said = answer.json() as { errcode?: unknown; errmsg?: unknown } | null | undefined
  // A page of a proxy, or of somebody who mends it.
  if (!said) throw new StepError('UNAVAILABLE', `telling ${name}: it answers what is no JSON`)
  const { errcode, errmsg } = said
  if (errcode === 0) return
  const code = Number(errcode)
  const told = typeof errmsg === 'string' ? hide(url, errmsg.slice(0, 200)) : ''
  const message = `telling ${name}: it answers errcode ${errcode}${told && `: ${told}`}`
  if (busy.includes(code)) throw new StepError('UNAVAILABLE', message)
  const kind = refused.includes(code) ? 'UNAUTHORIZED' : 'INPUT_INVALID'
  throw new StepError(kind, message, { hint: "Check the robot's address, secret and keywords." })
}

/** Bytes of UTF-8. */
const LONGEST_DINGTALK = 18_000

/** https://open.dingtalk.com/document/robots/custom-robot-access */
const dingtalk: Receiver = async (dispatch) => {
  const { secret, message, notice } = dispatch
  const url = new URL(dispatch.url)
  if (secret !== undefined) {
    const timestamp = String(Date.now())
    const signed = `${timestamp}\n${secret}`
    url.searchParams.set('timestamp', timestamp)
    url.searchParams.set('sign', createHmac('sha256', secret).update(signed).digest('base64'))
  }
  const title = plain(`${notice.route} ${notice.what}`)
  const lines = plain(message).replaceAll('\n', '\n\n')
  const text = `${cut(lines, LONGEST_DINGTALK)}${page(dispatch)}`
  const json = { msgtype: 'markdown', markdown: { title, text } }
  const answer = await send(dispatch, url.href, { json })
  judge(dispatch, answer, { busy: [130101, 90018, -1], refused: [310000, 300001, 300005] })
}

/** Bytes of UTF-8. */
const LONGEST_WECOM = 4096

/** https://developer.work.weixin.qq.com/document/path/91770 */
const wecom: Receiver = async (dispatch) => {
  const link = page(dispatch)
  const end = Buffer.byteLength(link) <= LONGEST_WECOM / 2 ? link : ''
  const text = cut(plain(dispatch.message), LONGEST_WECOM - Buffer.byteLength(end))
    // An escape that lost what it escapes.
    .replace(/(?<!\\)((?:\\\\)*)\\$/, '$1')
  const json = { msgtype: 'markdown', markdown: { content: `${text}${end}` } }
  const answer = await send(dispatch, dispatch.url, { json })
  judge(dispatch, answer, { busy: [45009, -1], refused: [93000, 40001] })
}

/** So many bytes at most, and no half character at the end. */
export function cut(text: string, bytes: number): string {
  const content = Buffer.from(text)
  if (content.length <= bytes) return content.toString('utf8')
  let end = Math.max(bytes, 0)
  // A byte 10xxxxxx goes on with the character before it.
  while (end > 0 && ((content[end] ?? 0) & 0xc0) === 0x80) end--
  return content.subarray(0, end).toString('utf8')
}

export const receivers = { webhook, slack, dingtalk, wecom }
