import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { createHttpClient } from '../../../src/core/http/client.ts'
import { compileTemplate, templateText } from '../../../src/server/effects/templates.ts'
import type { Notice } from '../../../src/server/feedback/notice.ts'
import { createNotifier } from '../../../src/server/feedback/notifier.ts'
import { receiverSettings } from '../../../src/server/feedback/receiver-settings.ts'
import { cut } from '../../../src/server/feedback/receivers.ts'
import { freePort } from '../../support/servers/ports.ts'

interface Received {
  url: URL
  headers: IncomingHttpHeaders
  body: string
}

/** A chat's server: keeps what it receives, and responds as configured. */
async function startReceiver(t: Test) {
  const received: Received[] = []
  const receiver = {
    url: '',
    received,
    status: 200,
    echo: false,
    answer: '{"errcode":0,"errmsg":"ok"}',
  }
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://receiver')
    received.push({ url, headers: request.headers, body: await text(request) })
    response
      .writeHead(receiver.status)
      .end(receiver.echo ? `Cannot POST ${request.url}` : receiver.answer)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return receiver
}

type Kind = 'webhook' | 'slack' | 'dingtalk' | 'wecom'
const SECRET = 'SEC-a-secret-of-the-test'
const signal = new AbortController().signal
const http = createHttpClient()
const facts = { project: 'team/webapi', ref: 'main', by: 'li', title: 'Round prices' }
const notice: Notice = {
  id: '0mwt7rbwpcd080f1efaec-failed',
  what: 'failed',
  route: 'webapi',
  facts,
  text: 'GitLab does not answer',
  url: 'https://gitlab.example.com/p/1',
}
const settle = (kind: Kind, url: string, more: object = {}) =>
  createNotifier('ops', receiverSettings.parse({ kind, url, secret: SECRET, ...more }), http)

t.test('a webhook is signed after Standard Webhooks', async (t) => {
  const receiver = await startReceiver(t)
  await settle('webhook', `${receiver.url}/hook`).send(notice, signal)
  const [first] = receiver.received
  const header = (name: string) => String(first?.headers[name])
  const signed = `${header('webhook-id')}.${header('webhook-timestamp')}.${first?.body}`
  const signature = createHmac('sha256', SECRET).update(signed).digest('base64')
  t.equal(header('webhook-signature'), `v1,${signature}`)
  t.equal(header('webhook-id'), notice.id)
  t.equal(header('idempotency-key'), notice.id)
  t.ok(Math.abs(Date.now() / 1000 - Number(header('webhook-timestamp'))) < 10)
  t.match(JSON.parse(first?.body ?? ''), {
    what: 'failed',
    route: 'webapi',
    text: notice.text,
    facts,
    message: 'webapi failed: team/webapi main by li\nGitLab does not answer',
  })
  const key = Buffer.from('the bytes of a signing key')
  const secret = `whsec_${key.toString('base64')}`
  await settle('webhook', receiver.url, { secret }).send(notice, signal)
  const second = receiver.received[1]
  const again = `${notice.id}.${second?.headers['webhook-timestamp']}.${second?.body}`
  const expected = createHmac('sha256', key).update(again).digest('base64')
  t.equal(second?.headers['webhook-signature'], `v1,${expected}`, 'with the key of whsec_')
})

t.test('Slack reads no text from outside as markup', async (t) => {
  const receiver = await startReceiver(t)
  const evil = { ...facts, ref: '<!channel>', by: '<https://evil.example.com|click>' }
  await settle('slack', receiver.url).send({ ...notice, facts: evil, text: 'a & b' }, signal)
  const { text: shown } = JSON.parse(receiver.received[0]?.body ?? '')
  t.notMatch(shown, /<!|<https:\/\/evil/)
  t.match(shown, /&lt;!channel&gt;[\s\S]*a &amp; b\n<https:\/\/gitlab.example.com\/p\/1\|details>$/)
  receiver.received.length = 0
  await settle('slack', receiver.url).send(
    { ...notice, url: 'https://a.example.com/x|<!here>' },
    signal,
  )
  t.notMatch(receiver.received[0]?.body, '<!here>')
})

t.test('deployments past a gate come first, whatever the template is', async (t) => {
  const receiver = await startReceiver(t)
  const lines = ['BREAK-GLASS: ops-li went past the gate of production with d12', 'and with d13']
  const hook = settle('webhook', receiver.url, { template: '{{route}} {{what}}' })
  await hook.send(notice, signal, lines)
  t.equal(
    JSON.parse(receiver.received[0]?.body ?? '').message,
    `${lines.join('\n')}\nwebapi failed`,
  )
})

t.test('DingTalk gets a signed query, and its errcodes become error codes', async (t) => {
  const receiver = await startReceiver(t)
  const robot = settle('dingtalk', `${receiver.url}/robot/send?access_token=tok`)
  const evil = { ...facts, ref: '](http://evil.example.com)', by: '@all' }
  await robot.send({ ...notice, facts: evil }, signal)
  const [first] = receiver.received
  const timestamp = first?.url.searchParams.get('timestamp') ?? ''
  const sign = createHmac('sha256', SECRET).update(`${timestamp}\n${SECRET}`).digest('base64')
  t.equal(first?.url.searchParams.get('sign'), sign)
  t.equal(first?.url.searchParams.get('access_token'), 'tok')
  t.ok(Math.abs(Date.now() - Number(timestamp)) < 10_000, 'milliseconds')
  const { msgtype, markdown } = JSON.parse(first?.body ?? '')
  t.equal(msgtype, 'markdown')
  t.match(markdown, {
    title: 'webapi failed',
    text: /GitLab does not answer\n\n\[details\]\(https/,
  })
  t.notMatch(markdown.text, /[^\\]\]\(http:\/\/evil/, 'no link of somebody else')
  t.notMatch(markdown.text, '@all')
  for (const [errcode, code] of [
    [310000, 'UNAUTHORIZED'],
    [130101, 'UNAVAILABLE'],
    [40035, 'INPUT_INVALID'],
  ]) {
    receiver.answer = JSON.stringify({ errcode, errmsg: 'no' })
    const failed = { code, message: `notifying ops: it answers errcode ${errcode}: no` }
    await t.rejects(robot.send(notice, signal), failed)
  }
  receiver.answer = 'a page of a proxy'
  await t.rejects(robot.send(notice, signal), { code: 'UNAVAILABLE', message: /no JSON/ })
})

t.test('WeCom gets at most 4096 bytes, and its errcodes become error codes', async (t) => {
  const receiver = await startReceiver(t)
  const robot = settle('wecom', `${receiver.url}/cgi-bin/webhook/send?key=tok`)
  await robot.send({ ...notice, text: '价'.repeat(3000) }, signal)
  const { msgtype, markdown } = JSON.parse(receiver.received[0]?.body ?? '')
  t.equal(msgtype, 'markdown')
  t.ok(Buffer.byteLength(markdown.content) <= 4096)
  t.match(markdown.content, /价\n\n\[details\]\(https:\/\/gitlab.example.com\/p\/1\)$/)
  t.notMatch(markdown.content, '\ufffd', 'no half character')
  for (const [errcode, code] of [
    [45009, 'UNAVAILABLE'],
    [93000, 'UNAUTHORIZED'],
    [40058, 'INPUT_INVALID'],
  ]) {
    receiver.answer = JSON.stringify({ errcode })
    await t.rejects(robot.send(notice, signal), { code })
  }
})

t.test('Mattermost and Rocket.Chat read no text from outside as markup', async (t) => {
  const receiver = await startReceiver(t)
  const evil = { ...facts, ref: '@all @channel', by: '[click](http://evil.example.com)' }
  const more = { facts: evil, url: 'https://a.example.com/?a=1&b=2' }
  await settle('slack', receiver.url).send({ ...notice, ...more }, signal)
  const { text: shown } = JSON.parse(receiver.received[0]?.body ?? '')
  t.notMatch(shown, /@all|@channel|\]\(/)
  t.ok(shown.endsWith('<https://a.example.com/?a=1&amp;b=2|details>'))
})

t.test('a message that does not fit WeCom is cut, and keeps its link', async (t) => {
  const receiver = await startReceiver(t)
  const robot = settle('wecom', receiver.url)
  const contentOf = (at: number) => JSON.parse(receiver.received[at]?.body ?? '').markdown.content
  await robot.send({ ...notice, url: `https://a.example.com/${'a'.repeat(5000)}` }, signal)
  t.ok(Buffer.byteLength(contentOf(0)) <= 4096)
  t.match(contentOf(0), notice.text)
  for (const blanks of ['', 'x']) {
    await robot.send({ ...notice, text: `${blanks}${'_'.repeat(4000)}` }, signal)
  }
  for (const at of [1, 2]) t.match(contentOf(at), /\\_\n\n\[details\]/, 'no half escape')
})

t.test('addresses of receivers are never shown, and redirects are not followed', async (t) => {
  const receiver = await startReceiver(t)
  const secretPart = 'T0000000/B0000000/XXXXXXXXXXXX'
  const hook = settle('slack', `${receiver.url}/services/${secretPart}`)
  const robot = settle('dingtalk', `${receiver.url}/robot/send?access_token=tok-of-the-robot`)
  receiver.status = 404
  for (const one of [hook, robot]) {
    receiver.echo = true
    const error = await one.send(notice, signal).catch((thrown: unknown) => thrown)
    t.match(error, { code: 'NOT_FOUND', message: 'Cannot POST' })
    t.notMatch((error as Error).message, /XXXX|T0000|tok-of/)
  }
  receiver.echo = false
  receiver.status = 200
  receiver.answer = '{"errcode":93000,"errmsg":"no key tok-of-the-robot"}'
  const error = await robot.send(notice, signal).catch((thrown: unknown) => thrown)
  t.notMatch((error as Error).message, 'tok-of')
  receiver.status = 302
  await t.rejects(hook.send(notice, signal), { code: 'INPUT_INVALID', message: /302/ })
  const good = { kind: 'webhook', url: receiver.url, secret: SECRET }
  for (const bad of [
    { url: 'https://user:password@a.example.com/x' },
    { secret: 'whsec_!!!!!!!!!!!!!!!!' },
    { secret: 'whsec_MDEyMw==            ' },
    { secret: 'whsec_MDEyMzQ1Njc4OQ==' },
  ]) {
    t.notOk(receiverSettings.safeParse({ ...good, ...bad }).success, JSON.stringify(bad))
  }
  t.ok(receiverSettings.safeParse({ ...good, url: 'https://a.example.com/x@y' }).success)
})

t.test('any text makes a message that the receiver can read', async (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), fc.nat(200), (full, bytes) => {
      const short = cut(full, bytes)
      const whole = Buffer.from(full).toString('utf8')
      return Buffer.byteLength(short) <= bytes && whole.startsWith(short)
    }),
  )
  const receiver = await startReceiver(t)
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary' }), fc.string(), async (ref, by) => {
      receiver.received.length = 0
      await settle('slack', receiver.url).send({ ...notice, facts: { ...facts, ref, by } }, signal)
      return !/<(?!https:\/\/gitlab)/.test(JSON.parse(receiver.received[0]?.body ?? '').text)
    }),
    { numRuns: 50 },
  )
  t.equal(receiver.received.length, 1)
})

t.test('a receiver that is away is retryable, one that refuses is final', async (t) => {
  const receiver = await startReceiver(t)
  const secretPart = 'T00000000-B00000000-XXXXXXXX'
  const slack = settle('slack', `${receiver.url}/services/${secretPart}`)
  for (const [status, code] of [
    [503, 'UNAVAILABLE'],
    [429, 'UNAVAILABLE'],
    [403, 'FORBIDDEN'],
    [404, 'NOT_FOUND'],
    [400, 'INPUT_INVALID'],
  ] as const) {
    receiver.status = status
    const error = await slack.send(notice, signal).catch((thrown: unknown) => thrown)
    t.match(error, { code, message: /^notifying ops: / })
    t.notMatch((error as Error).message, secretPart)
  }
  const away = settle('slack', `http://127.0.0.1:${await freePort()}/x`).send(notice, signal)
  await t.rejects(away, { code: 'UNAVAILABLE', retryable: true, message: /ECONNREFUSED/ })
  const some = settle('slack', receiver.url, { on: ['succeeded', 'drift'] })
  const wanted = (['started', 'succeeded', 'failed', 'drift'] as const).filter(some.wants)
  t.strictSame(wanted, ['succeeded', 'drift'])
  const settings = { kind: 'webhook', url: receiver.url }
  t.match(
    receiverSettings.safeParse(settings).error?.issues[0]?.message,
    /is required for a webhook/,
  )
})

t.test('a template uses known facts only, and nothing in it is read twice', async (t) => {
  const render = compileTemplate(
    '{{by}} {{short commit}} {{#if tag}}{{tag}}{{else}}none{{/if}} {{title}}',
  )
  const values = { by: 'li', commit: 'a'.repeat(40), tag: '', title: '<b> & {{by}}' }
  t.equal(
    render(values),
    `li ${'a'.repeat(12)} none <b> & {{by}}`,
    'nothing is escaped or read twice',
  )
  t.equal(
    compileTemplate('{{short digest}}')({ digest: `sha256:${'7f'.repeat(32)}` }),
    '7f7f7f7f7f7f',
  )
  for (const bad of [
    '{{secret}}',
    '{{#each by}}{{/each}}',
    '{{constructor}}',
    '{{> x}}',
    '{{by',
    '{{lookup by "x"}}',
    '{{by.length}}',
    '{{@root}}',
    ...['{{if by}}', '{{#if}}x{{/if}}', '{{#if by ref}}x{{/if}}', '{{by commit}}', '{{short}}'],
    ...[
      '{{short by ref}}',
      '{{short foo=by}}',
      '{{"secret"}}',
      '{{1}}',
      '{{* by}}',
      '{{#by}}{{/by}}',
    ],
    ...[
      '{{#* by}}x{{/by}}',
      '{{#> by}}x{{/by}}',
      '{{#if by as |ref|}}{{ref}}{{/if}}',
      '{{log by}}',
    ],
    ...['{{#short by}}x{{/short}}', '{{#if (by ref)}}x{{/if}}', '{{#if by}}{{x}}{{/if}}'],
    ...[
      '{{#if by}}{{else}}{{x}}{{/if}}',
      '{{#if by}}{{else if x}}{{/if}}',
      '{{{{by}}}}{{{{/by}}}}',
    ],
  ]) {
    t.notOk(templateText.safeParse(bad).success, bad)
  }
  for (const good of [
    ...['', 'a { b', '{{! why }}x', '{{{by}}}', '{{short (short digest)}}', '{{~by~}}'],
    ...['{{#if tag}}{{tag}}{{else if ref}}{{ref}}{{else}}-{{/if}}', '{{^if by}}x{{/if}}'],
    '{{#unless (short by)}}nobody{{/unless}}',
  ]) {
    t.ok(templateText.safeParse(good).success, good)
    t.doesNotThrow(() => compileTemplate(good)(values), good)
  }
  t.match(templateText.safeParse('{{secret}}').error?.issues[0]?.message, /is no fact.*known: id/)
})
