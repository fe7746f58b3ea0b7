import { type Answer, type Attacked, deploy, type Job, post, type Sent } from './world.ts'

/** What somebody whom the server knows may not: what they are told, and what the audit log has. */
export interface Act {
  status: number
  told: RegExp
  /** The reason in the audit log; without, the policy was not asked. */
  audited?: RegExp
  send(world: Attacked): Promise<Answer>
}

const PRODUCTION = deploy({ env: 'production' })
const notThere = (app: string, environment: string) =>
  new RegExp(`there is no ${app} in ${environment} for you here`)

const by =
  (claims: object, sent: Sent, ofOther = false) =>
  async (world: Attacked) =>
    (await world.job({ ...claims }, ofOther ? world.other : world.issuer)).send(sent)
const shop = { project_path: 'team/shop', project_id: '21' }
const byShop = (sent: Sent) => by(shop, sent)
const byToken = (name: string, verbs: string[], sent: Sent) => async (world: Attacked) => {
  const secret = await world.apiToken(name, verbs)
  return world.send({ ...sent, headers: [['authorization', `Bearer ${secret}`]] })
}

/** A run of webapi, and who else is at it. */
const atRun = (path: string, claims: object, body?: object) => async (world: Attacked) => {
  const verify = { app: 'webapi', step: 'verify-md5', inputs: { env: 'test' } }
  const { body: made } = await (await world.job()).send(post(verify))
  const method = body === undefined ? 'GET' : 'POST'
  return (await world.job({ ...claims })).send({ method, path: `/runs/${made.run}${path}`, body })
}
const viewing = (path: string, body?: object) => async (world: Attacked) => {
  const verify = { app: 'webapi', step: 'verify-md5', inputs: { env: 'test' } }
  const { body: made } = await (await world.job()).send(post(verify))
  const method = body === undefined ? 'GET' : 'POST'
  return viewer(world, { method, path: `/runs/${made.run}${path}`, body })
}
let viewerToken: string | undefined
const viewer = async (world: Attacked, sent: Sent) => {
  viewerToken ??= await world.apiToken('viewer', ['view', 'logs', 'deploy', 'cancel'])
  return world.send({ ...sent, headers: [['authorization', `Bearer ${viewerToken}`]] })
}
const planOf = (job: Job) => job.send(post(deploy(), '/plans'))

/** Grants that are not theirs. */
export const confused: Record<string, Act> = {
  'a job without the environment, to production': {
    ...{ status: 404, told: notThere('webapi', 'production') },
    audited: /grants\[1\] needs environment production, the token says nothing/,
    send: by({}, post(PRODUCTION)),
  },
  'a job of another environment, to production': {
    ...{ status: 404, told: notThere('webapi', 'production') },
    audited: /needs environment production, the token says test/,
    send: by({ environment: 'test' }, post(PRODUCTION)),
  },
  'an environment that was renamed': {
    ...{ status: 404, told: notThere('webapi', 'production') },
    audited: /needs environment production, the token says Production/,
    send: by({ environment: 'Production' }, post(PRODUCTION)),
  },
  'an environment below it': {
    ...{ status: 404, told: notThere('webapi', 'production') },
    audited: /the token says production\/eu/,
    send: by({ environment: 'production/eu' }, post(PRODUCTION)),
  },
  'an environment with a space': {
    ...{ status: 404, told: notThere('webapi', 'production') },
    audited: /the token says "production "/,
    send: by({ environment: 'production ' }, post(PRODUCTION)),
  },
  'another branch that is protected': {
    ...{ status: 404, told: notThere('webapi', 'test') },
    audited: /grants\[0\] needs ref main, the token says release\/1/,
    send: by({ ref: 'release/1' }, post(deploy())),
  },
  'a tag that is called like the branch': {
    ...{ status: 404, told: notThere('webapi', 'test') },
    audited: /needs ref main, the token says refs\/tags\/main/,
    send: by({ ref: 'refs/tags/main', ref_type: 'tag' }, post(deploy())),
  },
  'the project of another issuer': {
    ...{ status: 404, told: notThere('webapi', 'test') },
    audited: /no grant is for a job of project-id 20, project team\/webapi/,
    send: by({}, post(deploy()), true),
  },
  'a job of another project': {
    ...{ status: 404, told: notThere('webapi', 'test') },
    audited: /grants\[2\] allows it for shop/,
    send: byShop(post(deploy())),
  },
  'a job that names an operator': {
    ...{ status: 404, told: notThere('webapi', 'production') },
    audited: /grants\[1\] needs environment production/,
    send: by({ user_login: 'token:jenkins', groups_direct: ['admin'] }, post(PRODUCTION)),
  },
  'where it may nothing': {
    ...{ status: 404, told: notThere('webapi', 'staging') },
    audited: /grants\[0\] allows it on test/,
    send: by({}, post(deploy({ env: 'staging' }))),
  },
  'a promotion to where it sees nothing': {
    ...{ status: 404, told: notThere('webapi', 'staging') },
    audited: /allows it on test/,
    send: by({}, post({ app: 'webapi', step: 'promote', inputs: { to: 'staging' } })),
  },
  'past a rule, without force': {
    ...{ status: 403, told: /may not force webapi in test/ },
    audited: /grants\[0\] as pipeline has no force/,
    send: by({}, post(deploy({ force: true }))),
  },
  'an older release, without force': {
    ...{ status: 403, told: /may not force webapi in test/ },
    audited: /has no force/,
    send: by({}, post(deploy({ older: true }))),
  },
  'past a gate, without force': {
    ...{ status: 403, told: /may not force/ },
    audited: /has no force/,
    send: by({}, post(deploy({ breakGlass: true }), '/plans')),
  },
  'a rollback, without the verb': {
    ...{ status: 403, told: /may not rollback webapi in test/ },
    audited: /grants\[0\] as pipeline has no rollback/,
    send: by({}, post({ app: 'webapi', step: 'rollback', inputs: { env: 'test', reason: 'x' } })),
  },
  'the audit log': {
    ...{ status: 404, told: /there is no/ },
    audited: /has no audit-read/,
    send: by({}, { path: '/audit' }),
  },
  'an API token with a grant, beyond its scope': {
    ...{ status: 403, told: /token jenkins may not deploy/ },
    audited: /grants\[3\] allows it, but the token's scope has no deploy/,
    send: byToken('jenkins', ['view'], post(deploy())),
  },
  'an API token with a scope, beyond its grant': {
    ...{ status: 403, told: /token viewer may not deploy/ },
    audited: /grants\[4\] as viewer has no deploy/,
    send: (world) => viewer(world, post(deploy())),
  },
  'an API token that no grant names': {
    ...{ status: 404, told: notThere('webapi', 'test') },
    audited: /no grant names token:nobody/,
    send: byToken('nobody', ['view', 'deploy'], post(deploy())),
  },
}

/** What belongs to somebody else. */
export const foreign: Record<string, Act> = {
  'the plan of somebody else': {
    ...{ status: 404, told: /there is no plan/ },
    async send(world) {
      const { body } = await planOf(await world.job())
      return (await world.job({ job_id: '303' })).send(post({ plan: body.plan }))
    },
  },
  'the plan of another application': {
    ...{ status: 404, told: /there is no plan/ },
    async send(world) {
      const { body } = await planOf(await world.job())
      return (await world.job(shop)).send(post({ plan: body.plan }))
    },
  },
  'an idempotency key with another request': {
    ...{ status: 422, told: /came with another request before/ },
    async send(world) {
      const job = await world.job({ job_id: '304' })
      const headers: [string, string][] = [['idempotency-key', 'a']]
      await job.send({ ...post(deploy()), headers })
      return job.send({ ...post(deploy({ reason: 'other' })), headers })
    },
  },
  'the run of another application': {
    ...{ status: 404, told: /there is no run/ },
    send: atRun('', shop),
  },
  'its log': { ...{ status: 404, told: /there is no run/ }, send: atRun('/lines', shop) },
  'its end': {
    ...{ status: 404, told: /there is no run/ },
    send: atRun('/cancel', shop, { reason: 'x' }),
  },
  'a run, from another branch': {
    ...{ status: 404, told: /there is no run/ },
    send: atRun('', { ref: 'release/1' }),
  },
  'the log of a run, with view alone': {
    ...{ status: 403, told: /token viewer may not logs webapi in test/ },
    audited: /grants\[4\] as viewer has no logs/,
    send: viewing('/lines'),
  },
  'the end of a run, with view alone': {
    ...{ status: 403, told: /token viewer may not cancel webapi in test/ },
    audited: /grants\[4\] as viewer has no cancel/,
    send: viewing('/cancel', { reason: 'x' }),
  },
  'an application of others': {
    ...{ status: 404, told: /there is no application webapi for you/ },
    send: byShop({ path: '/applications/webapi' }),
  },
  'an environment of others': {
    ...{ status: 404, told: notThere('webapi', 'production') },
    send: by({}, { path: '/applications/webapi/environments/production' }),
  },
  'the deployments of others': {
    ...{ status: 404, told: notThere('webapi', 'production') },
    send: by({}, { path: '/applications/webapi/deployments?env=production' }),
  },
  'the release of another application': {
    ...{ status: 400, told: /the release is of shop, not of webapi/ },
    send: by({}, post({ ...deploy({}, 'shop'), app: 'webapi' })),
  },
  'a build beside the keys': {
    ...{ status: 400, told: /step is not one of the steps over HTTP/ },
    send: by({}, post({ ...deploy(), step: 'build-war' })),
  },
  'a container of a stranger': {
    ...{ status: 400, told: /inputs\.adopt is not known here/ },
    send: by({}, post(deploy({ adopt: true }))),
  },
  'who it is for': {
    ...{ status: 400, told: /by|plan/ },
    send: by({}, post({ ...deploy(), by: 'li' })),
  },
  'another file of settings': {
    ...{ status: 400, told: /inputs\.settings is not known here/ },
    send: by({}, post(deploy({ settings: '/etc/passwd' }))),
  },
  'a path in the name of the application': {
    ...{ status: 400, told: /app/ },
    send: by({}, post(deploy({}, '../shop'))),
  },
}
