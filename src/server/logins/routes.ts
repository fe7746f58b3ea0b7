import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Secrets } from '../../core/secrets.ts'
import { problemOf, sendProblem } from '../api/problems.ts'
import { requestParts } from '../api/session.ts'
import { clearCookie, SESSION_COOKIE } from './cookies.ts'
import type { Logins, Redirect } from './logins.ts'
import { PAGE_HEADERS, pageOf } from './page.ts'

export interface LoginRoutesOptions {
  logins: Logins
  /** Of this server, as browsers write it. */
  url: string
  secrets: Pick<Secrets, 'mask'>
  log: Log
}

/** Logins of an address in a minute that are begun: each is kept for ten minutes. */
const MOST_BEGUN = 300

/** `GET /login`, `GET /login/callback/NAME` and `POST /logout`, for browsers. */
export async function addLoginRoutes(
  app: FastifyInstance,
  options: LoginRoutesOptions,
): Promise<void> {
  const { default: rateLimit } = await import('@fastify/rate-limit')
  const { logins } = options
  await app.register(async (pages) => {
    prepare(pages, options)
    await pages.register(rateLimit, { global: false, cache: 10_000 })
    const config = { rateLimit: { max: MOST_BEGUN, timeWindow: 60_000 } }
    pages.get('/login', { exposeHeadRoute: false, config }, async (request, reply) => {
      const { with: name, to } = request.query as Record<string, unknown>
      const [first = '', ...others] = logins.names
      if (name === undefined && others.length > 0) return reply.send(choices(logins.names, to))
      const issuer = typeof name === 'string' ? name : first
      return redirect(reply, await logins.begin(requestParts(request), { issuer, path: to }))
    })
    pages.get('/login/callback/:issuer', { exposeHeadRoute: false }, async (request, reply) => {
      const { issuer } = request.params as { issuer: string }
      return redirect(reply, await logins.finish(requestParts(request), issuer))
    })
    pages.post('/logout', async (request, reply) => logout(request, reply, options))
  })
}

/** Every answer is for this request alone; errors are pages for browsers, problems for programs. */
function prepare(pages: FastifyInstance, { log, secrets }: LoginRoutesOptions): void {
  pages.addHook('onRequest', async (_request, reply) => {
    reply
      .header('cache-control', 'no-store')
      .header('x-content-type-options', 'nosniff')
      .headers(PAGE_HEADERS)
  })
  pages.setErrorHandler((error: unknown, request, reply) => {
    const { status, detail = '', hint = '' } = problemOf(error, secrets.mask)
    if (status >= 500) log.error(`a login failed: ${toStepError(error).message}`)
    if (!wantsPage(request)) return sendProblem(reply, error, secrets.mask)
    const links = [{ text: 'Log in', href: '/login' }]
    const text = `${detail}. ${hint}`
    return reply.code(status).send(pageOf({ title: 'Not logged in', text, links }))
  })
}

const wantsPage = ({ headers }: FastifyRequest) => /\btext\/html\b/.test(headers.accept ?? '')

function choices(names: readonly string[], to: unknown): string {
  const rest = typeof to === 'string' ? `&to=${encodeURIComponent(to)}` : ''
  const links = names.map((name) => ({ text: name, href: `/login?with=${name}${rest}` }))
  return pageOf({ title: 'Log in with', links })
}

function redirect(reply: FastifyReply, { location, cookies }: Redirect): FastifyReply {
  return reply
    .code(303)
    .header('set-cookie', [...cookies])
    .header('location', location)
    .send('')
}

/** Programs of a page read where to go; a form is sent there. */
async function logout(
  request: FastifyRequest,
  reply: FastifyReply,
  { logins, url }: LoginRoutesOptions,
): Promise<FastifyReply> {
  const there = await logins.logout(requestParts(request))
  reply.header('set-cookie', clearCookie(SESSION_COOKIE))
  if (!wantsPage(request)) return reply.type('application/json').send({ location: there ?? '/' })
  return reply
    .code(303)
    .header('location', there ?? `${new URL(url).origin}/`)
    .send('')
}
