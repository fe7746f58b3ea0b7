import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { resolveEnvironment } from '../../../src/settings.ts'
import { setUp, test } from './world.ts'

t.test('the protected branch counts, with the settings of the server over it', async (t) => {
  const config = 'redis://:$' + '{PRODUCTION_PASSWORD}@127.0.0.1:1/0'
  const { open, commit, repository } = await setUp(t, {
    environments: { production: { image: 'registry.example.com/webapi', config } },
  })
  const first = await commit({ test, production: { image: 'evil.example.com/webapi' } })
  const opened = await open()
  t.equal(opened.commit, first)
  const { image } = resolveEnvironment(opened.settings, 'production')
  t.equal(image.registry, 'registry.example.com')
  t.equal(opened.environment.CROSSCLOUD_OWN_PRODUCTION_PASSWORD, 'swordfish-1')
  t.notOk('OTHER' in opened.environment, 'no other variable of the server')
  t.notMatch(await readFile(opened.file, 'utf8'), 'swordfish', 'no secret is written')
  t.equal((await open()).file, opened.file, 'the same commit is checked out once')
  const second = await commit({ test })
  t.equal((await open()).commit, second)
  await repository.git('checkout', '--quiet', '-b', 'feature')
  await commit({ evil: test })
  t.equal((await open()).commit, second, 'another branch does not count')
})

t.test('what a commit gives its containers of their hosts must be allowed', async (t) => {
  const { open, commit } = await setUp(t, {
    allow: ['mounts /data of the host at /data, read-only'],
  })
  const refuse = async (container: object, message: RegExp) => {
    await commit({ test: { ...test, container } })
    await t.rejects(open(), { code: 'FORBIDDEN', message }, String(message))
  }
  await refuse(
    { volumes: ['/:/host'] },
    /webapi in test: its container mounts \/ of the host at \/host/,
  )
  await refuse({ volumes: ['/var/run/docker.sock:/s'] }, /commands the container engine/)
  await refuse({ devices: ['/dev/sda'] }, /uses the device \/dev\/sda of the host/)
  await refuse({ 'cap-add': ['SYS_ADMIN'] }, /has the capability SYS_ADMIN/)
  await refuse({ network: 'host' }, /shares the network of the host/)
  await refuse({ user: 'root' }, /runs as root/)
  await refuse({ volumes: ['/data:/data'] }, /mounts \/data of the host at \/data;/)
  await commit({ test }, { container: { 'cap-add': ['NET_ADMIN'] } })
  await t.rejects(open(), { code: 'FORBIDDEN' }, 'in the common part, too')
  await commit({ test: { ...test, container: { volumes: ['/data:/data:ro', 'named:/var'] } } })
  t.ok(await open(), 'what is allowed, and a volume of its own')
})

t.test('a tag does not hide from the checks what a commit says', async (t) => {
  const { open, repository } = await setUp(t)
  const hidden = [
    'environments: !!omap [test: {image: registry.test/webapi, config: "file:/etc/passwd"}]',
    'environments: {test: !!omap [image: registry.test/webapi, proxy: {commands: {check: [id]}}]}',
    'container: !!omap [secrets: {a: {environment: CROSSCLOUD_OWN_PASSWORD}}]',
  ]
  for (const line of hidden) {
    await repository.commit({ 'crosscloud.yml': `app: webapi\n${line}\n` })
    await t.rejects(open(), { code: 'INPUT_INVALID', message: /[Uu]nresolved tag/ }, line)
  }
})

t.test('a step has the secrets of its own environment and its sources', async (t) => {
  const secret = (name: string) => ({
    ...{ image: `registry.example.com/${name}` },
    config: `redis://:\${${name.toUpperCase()}_PASSWORD}@127.0.0.1:1/0`,
  })
  const { open, commit } = await setUp(
    t,
    {
      ledger: 'mysql://crosscloud:$' + '{LEDGER_PASSWORD}@127.0.0.1/ledger',
      environments: {
        test: secret('test'),
        staging: { ...secret('staging'), from: 'test' },
        production: { ...secret('production'), from: 'staging' },
      },
    },
    { TEST_PASSWORD: 't', STAGING_PASSWORD: 's', LEDGER_PASSWORD: 'l' },
  )
  await commit({})
  const { variablesFor } = await open()
  const own = (environment: string) =>
    Object.keys(variablesFor(environment)).flatMap((name) =>
      name.startsWith('CROSSCLOUD_OWN_') ? [name.slice('CROSSCLOUD_OWN_'.length)] : [],
    )
  const [ledger, first, second] = ['LEDGER_PASSWORD', 'TEST_PASSWORD', 'STAGING_PASSWORD']
  t.strictSame(own('test'), [ledger, first])
  t.strictSame(own('staging'), [ledger, first, second])
  t.strictSame(own('production'), [ledger, first, second, 'PRODUCTION_PASSWORD'])
  t.strictSame(own('unknown'), [ledger])
})

t.test('the settings that were checked are those that the step reads', async (t) => {
  const { open, commit } = await setUp(t)
  const refuse = async (more: object, message: RegExp) => {
    await commit({ test: { ...test, ...more } })
    await t.rejects(open(), { code: 'INPUT_INVALID', message }, String(message))
  }
  const run = '$' + '{CROSSCLOUD_RUN}'
  const ref = '$' + '{CI_COMMIT_REF_NAME:-10.0.0.1}'
  await refuse({ container: { volumes: ['/:/host', `x:/${run}`] } }, /volumes.1 names CROSSCLOUD_R/)
  await refuse({ hosts: { mine: `tcp://${ref}:2376` } }, /hosts.mine names CI_COMMIT_REF_NAME/)
  await refuse(
    { container: { secrets: { a: { environment: 'CI_JOB_URL' } } } },
    /environment names CI_JOB_URL/,
  )
  const gap = '$' + '{NOT_SET_HERE}'
  const lack = async (more: object, common: object = {}) => {
    await commit({ test: { ...test, ...more } }, common)
    const { variablesFor } = await open()
    const message = 'crosscloud.yml of webapi: variable NOT_SET_HERE is not set'
    t.throws(() => variablesFor('test'), { code: 'INPUT_INVALID', message })
  }
  await lack({ container: { volumes: ['/:/host', `${gap}:/data`] } })
  await lack({ container: { network: gap } })
  await lack({ hosts: { mine: `tcp://${gap}:2376` } })
  await lack({ image: `registry.test/${gap}` })
  await lack({ config: `redis://:${gap}@10.0.0.1:6379/0` })
  await lack({}, { container: { volumes: [`${gap}:/data`] } })
  await commit({ test: { ...test, url: `https://${gap}` } })
  const { environment } = await open()
  t.equal(environment.CROSSCLOUD_RUN, 'true')
})

t.test('no environment takes the places of one that the server describes', async (t) => {
  const { open, commit } = await setUp(t, {
    'hosts-from-repository': true,
    environments: {
      production: {
        ...{ image: 'registry.example.com/production/webapi', config: 'redis://10.0.0.9:6379/1' },
        hosts: { 'app-11': 'tcp://10.0.0.1:2376' },
      },
    },
  })
  const refuse = async (more: object, message: RegExp) => {
    await commit({ test: { ...test, ...more } })
    await t.rejects(open(), { code: 'FORBIDDEN', message }, String(message))
  }
  await refuse({ hosts: { mine: 'tcp://10.0.0.1:2376' } }, /test: it has the hosts of production/)
  const hosts = /test: it has the hosts of production/
  await refuse({ hosts: { mine: 'ssh://deployer@10.0.0.1' } }, hosts)
  await refuse({ hosts: { mine: 'TCP://10.0.0.1:2375' } }, hosts)
  await refuse({ hosts: { mine: 'tcp://10.1' } }, hosts)
  await refuse({ hosts: { mine: 'tcp://[::ffff:a00:1]:2376' } }, hosts)
  await refuse({ image: 'registry.example.com/production/webapi' }, /has the image of production/)
  await refuse({ image: 'Registry.Example.com:443/production/webapi' }, /the image of production/)
  await refuse({ config: 'redis://li:x@10.0.0.9/1' }, /has the config of production/)
  await refuse({ config: 'redis://10.0.0.9:6379/1' }, /has the config of production/)
  await commit({ test: { ...test, hosts: { mine: 'tcp://10.0.0.2:2376' } } })
  t.ok(await open())
})

t.test('no chain of links leaves the repository', async (t) => {
  const { open, commit, repository } = await setUp(t)
  const at = (path: string) => join(repository.folder, path)
  const refuse = async (links: Record<string, string>, message: RegExp) => {
    await commit({ test })
    for (const [path, target] of Object.entries(links)) {
      await mkdir(dirname(at(path)), { recursive: true })
      await symlink(target, at(path))
    }
    await commit({ test })
    await t.rejects(open(), { code: 'FORBIDDEN', message }, String(message))
    for (const path of Object.keys(links)) await rm(at(path))
    await commit({ test })
    t.ok(await open())
  }
  await refuse({ 'template.hbs': '/etc/passwd' }, /template.hbs of webapi is a link out of/)
  await refuse({ 'template.hbs': '../../../../../../etc/passwd' }, /template.hbs/)
  await refuse({ 'a/b/deep': '.', way: 'a/b/deep/../../..', x: 'way/../../etc' }, /of webapi/)
  // Each of them stays inside when only its own text is looked at.
  await refuse({ 'a/b/up': '../..', x: 'a/b/up/../y' }, /x of webapi/)
  await refuse({ 'no.yaml': 'nothing/here' }, /no.yaml of webapi leads nowhere/)
  await refuse({ round: 'round' }, /round of webapi leads nowhere/)
  await refuse({ mine: '.git/config' }, /mine of webapi is a link out of/)
  await commit({ test })
  await symlink('crosscloud.yml', at('same.yml'))
  await commit({ test, staging: test })
  t.ok(await open(), 'a link inside it may stay')
})

t.test('variables put together nothing that a commit may not write', async (t) => {
  const { open, commit } = await setUp(t)
  const part = (text: string) => ['$', `{NOT_THERE:-${text}}`].join('')
  const refuse = async (more: object, message: RegExp) => {
    await commit({ test: { ...test, ...more } })
    await t.rejects(open(), { code: 'FORBIDDEN', message }, String(message))
  }
  const socket = `${part('un')}${part('ix')}:///var/run/docker.sock`
  await refuse({ hosts: { mine: socket } }, /in test: it names an engine on the server itself/)
  const redis = `${part('redis+unix')}:///run/redis.sock`
  await refuse({ config: redis }, /in test: it names a config centre on the server itself/)
  await refuse({ config: part('file:/etc/passwd') }, /its config is a file of the server/)
})

t.test('beside hosts of the server a repository names its own only where it may', async (t) => {
  const written = { environments: { production: { hosts: { a: 'tcp://10.0.0.1:2376' } } } }
  const production = { ...test, hosts: { a: 'tcp://10.0.0.7:2376' } }
  const environments = { production, test: { ...test, hosts: { a: 'tcp://app-01:2376' } } }
  const strict = await setUp(t, written)
  await strict.commit(environments)
  const message =
    /webapi in test: the repository names its hosts; hosts-from-repository is not true/
  await t.rejects(strict.open(), { code: 'FORBIDDEN', message })
  await strict.commit({ production, test })
  t.ok(await strict.open(), 'hosts that those of the server replace do not count')
  const allowing = await setUp(t, { ...written, 'hosts-from-repository': true })
  await allowing.commit(environments)
  t.ok(await allowing.open())
})

t.test('a repository in the repository is refused', async (t) => {
  const { open, commit, repository } = await setUp(t)
  const bare = { 'sub/HEAD': 'ref: refs/heads/main\n', 'sub/refs/x': '', 'sub/objects/x': '' }
  await repository.commit({ ...bare, 'sub/config': '[core]\nfsmonitor = "id"\n' })
  await commit({ test })
  await t.rejects(open(), { code: 'FORBIDDEN', message: /sub of webapi is a repository itself/ })
  await rm(join(repository.folder, 'sub/refs'), { recursive: true })
  await commit({ test })
  t.ok(await open())
  await repository.commit({ 'sub/commondir': '../other' })
  await t.rejects(open(), { code: 'FORBIDDEN', message: /sub of webapi is a repository itself/ })
})

t.test('the folder of an application is in its repository', async (t) => {
  const { folder, open, repository } = await setUp(t, { path: 'services/webapi' })
  await repository.commit({ 'services/x': 'x' })
  await t.rejects(open(), { code: 'NOT_FOUND', message: /has no crosscloud.yml/ })
  await writeFile(join(folder, 'crosscloud.yml'), stringify({ app: 'webapi' }))
  await symlink(folder, join(repository.folder, 'services/webapi'))
  await repository.commit({ 'services/x': 'y' })
  await t.rejects(open(), { code: 'FORBIDDEN', message: /services.webapi of webapi is a link out/ })
})

t.test('a missing ledger, file or branch is named', async (t) => {
  const lacking = await setUp(t, { ledger: undefined })
  await lacking.commit({ test })
  await t.rejects(lacking.open(), {
    ...{ code: 'INPUT_INVALID', message: /names no ledger/ },
    hint: 'Set applications.webapi.ledger in crosscloud.server.yml.',
  })
  const { open, commit, repository, applications } = await setUp(t)
  await commit({ test }, { ledger: 'sqlite:ledger.db' })
  t.equal((await open()).settings.ledger?.url, 'mysql://crosscloud@127.0.0.1/ledger')
  await repository.git('rm', '--quiet', '-r', '.')
  await repository.commit({ other: 'x' })
  await t.rejects(open(), { code: 'NOT_FOUND', message: /has no crosscloud.yml/ })
  await t.rejects(applications.open('shop', AbortSignal.timeout(1000)), { code: 'NOT_FOUND' })
  await repository.git('branch', '--move', 'main', 'other')
  await t.rejects(open(), { code: 'NOT_FOUND', message: /has no branch main/ })
})
