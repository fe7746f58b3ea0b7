import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { run } from '../../src/core/process/process.ts'
import { createSecrets } from '../../src/core/secrets.ts'
import { createCredentials } from '../../src/registry/credentials.ts'
import {
  formatReference,
  isRepositoryName,
  isTag,
  parseReference,
  parseRepository,
} from '../../src/registry/reference.ts'

const base64 = (text: string) => Buffer.from(text).toString('base64')
const auth = { auth: base64('ann:pass:word') }
const ann = { username: 'ann', password: 'pass:word' }

async function setUp(t: Test, { file, inline }: { file?: unknown; inline?: unknown }) {
  const home = t.testdir({ '.docker': {}, bin: {} })
  const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))
  const path = join(home, '.docker', 'config.json')
  if (file !== undefined) await writeFile(path, text(file))
  const secrets = createSecrets()
  const env = {
    PATH: `${join(home, 'bin')}:${process.env.PATH}`,
    ...(inline === undefined ? {} : { DOCKER_AUTH_CONFIG: text(inline) }),
  }
  /** A program docker-credential-<name> with this shell body. */
  const helper = async (name: string, body: string) => {
    const program = join(home, 'bin', `docker-credential-${name}`)
    await writeFile(program, `#!/bin/sh\n${body}\n`)
    await chmod(program, 0o755)
  }
  return { home, env, secrets, helper, source: createCredentials({ env, home, run, secrets }) }
}

t.test("logins are found in docker's config as docker finds them", async (t) => {
  const host = 'harbor.example.com'
  const hub = 'registry-1.docker.io'
  const cases: [string, { file?: unknown; inline?: unknown }, string, unknown][] = [
    ['no config', {}, host, undefined],
    ['an empty config', { file: {} }, host, undefined],
    ['exact host', { file: { auths: { [host]: auth } } }, host, ann],
    ['another host', { file: { auths: { [host]: auth } } }, `x.${host}`, undefined],
    ['a longer host', { file: { auths: { [host]: auth } } }, `${host}.evil.example`, undefined],
    ['another port', { file: { auths: { [host]: auth } } }, `${host}:8443`, undefined],
    ['with a port', { file: { auths: { 'h:5000': auth } } }, 'h:5000', ann],
    ['old form: URL', { file: { auths: { [`https://${host}/`]: auth } } }, host, ann],
    ['old form: v1', { file: { auths: { [`https://${host}/v1/`]: auth } } }, host, ann],
    ['old form: v2', { file: { auths: { [`${host}/v2`]: auth } } }, host, ann],
    [
      'a namespace is not the host',
      { file: { auths: { [`${host}/team`]: auth } } },
      host,
      undefined,
    ],
    ['Docker Hub', { file: { auths: { 'https://index.docker.io/v1/': auth } } }, hub, ann],
    ['Docker Hub, by name', { file: { auths: { 'docker.io': auth } } }, hub, ann],
    ['user and password', { file: { auths: { [host]: ann } } }, host, ann],
    [
      'identity token',
      { file: { auths: { [host]: { ...auth, identitytoken: 'long-token' } } } },
      host,
      { identityToken: 'long-token' },
    ],
    ['an empty entry', { file: { auths: { [host]: {} } } }, host, undefined],
    [
      'NUL padding',
      { file: { auths: { [host]: { auth: base64('ann:pass:word\0\0') } } } },
      host,
      ann,
    ],
    ['DOCKER_AUTH_CONFIG', { inline: { auths: { [host]: auth } } }, host, ann],
    [
      'DOCKER_AUTH_CONFIG first',
      {
        inline: { auths: { [host]: auth } },
        file: { auths: { [host]: { auth: base64('bob:other-one') } } },
      },
      host,
      ann,
    ],
    [
      'then the file',
      { inline: { auths: { other: auth } }, file: { auths: { [host]: auth } } },
      host,
      ann,
    ],
    ['prototype names', { file: { auths: {} } }, 'constructor', undefined],
  ]
  for (const [name, config, registry, expected] of cases) {
    await t.test(name, async (t) => {
      const { source } = await setUp(t, config)
      t.same(await source.find(registry), expected)
    })
  }
})

t.test('secrets are known before anything can be printed', async (t) => {
  const { source, secrets } = await setUp(t, { file: { auths: { h: auth } } })
  await source.find('h')
  t.equal(secrets.mask(`x pass:word ${base64('ann:pass:word')}`), 'x *** ***')
})

t.test('a config that is wrong is named without its text', async (t) => {
  const cases: [string, { file?: unknown; inline?: unknown }, RegExp][] = [
    ['file', { file: '{ "auths": "topsecret" ' }, /config\.json: is not JSON$/],
    ['variable', { inline: 'topsecret' }, /^DOCKER_AUTH_CONFIG: is not JSON$/],
    ['array', { inline: '[]' }, /is not a JSON object/],
    ['auths', { inline: { auths: 'topsecret' } }, /"auths" is not an object/],
    ['helpers', { inline: { credHelpers: 1 } }, /"credHelpers" is not an object/],
    [
      'base64',
      { inline: { auths: { h: { auth: 'topsecret' } } } },
      /auths\["h"\]: "auth" is not base64/,
    ],
    [
      'helper name',
      { inline: { credHelpers: { h: '../evil' } } },
      /not a credential helper's name/,
    ],
    ['store name', { inline: { credsStore: 'a/b' } }, /not a credential helper's name/],
  ]
  for (const [name, config, message] of cases) {
    await t.test(name, async (t) => {
      const { source } = await setUp(t, config)
      const error = await source.find('h').then(
        () => t.fail('found'),
        (error: unknown) => error,
      )
      t.match(error, { code: 'INPUT_INVALID', message })
      t.notMatch(String((error as Error).message), 'topsecret')
    })
  }
})

t.test('credential helpers are asked as docker asks them', async (t) => {
  const answer = (user: string, secret: string) =>
    `read -r server; test "$1" = get || exit 9; printf '{"ServerURL":"%s","Username":"${user}","Secret":"${secret}"}' "$server"`
  await t.test('the helper of a host comes before the store of all', async (t) => {
    const { source, helper, secrets } = await setUp(t, {
      file: { credHelpers: { h: 'one' }, credsStore: 'all', auths: { h: {} } },
    })
    await helper('one', answer('ann', 'from-one'))
    await helper('all', answer('bob', 'from-all'))
    t.same(await source.find('h'), { username: 'ann', password: 'from-one' })
    t.same(await source.find('other'), { username: 'bob', password: 'from-all' })
    t.equal(secrets.mask('from-one from-all'), '*** ***')
  })
  await t.test('a helper is asked once, with the server on stdin', async (t) => {
    const { source, helper, home } = await setUp(t, { file: { credsStore: 'all' } })
    await helper(
      'all',
      `cat >> ${home}/asked; echo >> ${home}/asked; ${answer('<token>', 'refresh')}`,
    )
    const [a, b] = await Promise.all([source.find('h:5000'), source.find('h:5000')])
    t.same([a, b], [{ identityToken: 'refresh' }, { identityToken: 'refresh' }])
    await source.find('registry-1.docker.io')
    const { readFile } = await import('node:fs/promises')
    t.equal(await readFile(join(home, 'asked'), 'utf8'), 'h:5000\nhttps://index.docker.io/v1/\n')
  })
  await t.test('without a login in the store the file is asked', async (t) => {
    const { source, helper } = await setUp(t, { file: { credsStore: 'all', auths: { h: auth } } })
    await helper('all', 'echo credentials not found in native keychain; exit 1')
    t.same(await source.find('h'), ann, 'auths come after the store')
    t.equal(await source.find('other'), undefined)
  })
  await t.test('a helper that fails is named, and what it printed is not shown', async (t) => {
    const { source, helper } = await setUp(t, {
      file: { credHelpers: { h: 'broken', i: 'leaky', j: 'odd', k: 'absent' }, auths: { h: auth } },
    })
    await helper('broken', 'echo keychain is locked; exit 1')
    await helper('leaky', `${answer('ann', 'topsecret')}; exit 3`)
    await helper('odd', 'echo topsecret')
    await t.rejects(source.find('h'), {
      code: 'COMMAND_FAILED',
      message: /docker-credential-broken get for h .*keychain is locked/,
      hint: /Unlock/,
    })
    for (const [host, message] of [
      ['i', /docker-credential-leaky get for i .*failed/],
      ['j', /the answer is not a login/],
    ] as const) {
      const error = await source.find(host).catch((error: unknown) => error)
      t.match(error, { code: 'COMMAND_FAILED', message })
      t.notMatch(JSON.stringify([error, (error as Error).message]), 'topsecret')
    }
    await t.rejects(source.find('k'), { code: 'NOT_FOUND', message: /docker-credential-absent/ })
  })
})

t.test('references are parsed once, or refused with the reason', async (t) => {
  const digest = `sha256:${'a'.repeat(64)}`
  const good: [string, object, string?][] = [
    [
      'tomcat',
      { registry: 'registry-1.docker.io', name: 'library/tomcat' },
      'docker.io/library/tomcat',
    ],
    [
      'tomcat:10.1-jre17',
      { registry: 'registry-1.docker.io', name: 'library/tomcat', tag: '10.1-jre17' },
      'docker.io/library/tomcat:10.1-jre17',
    ],
    [
      'team/webapi',
      { registry: 'registry-1.docker.io', name: 'team/webapi' },
      'docker.io/team/webapi',
    ],
    ['docker.io/a', { registry: 'registry-1.docker.io', name: 'library/a' }, 'docker.io/library/a'],
    ['localhost/a', { registry: 'localhost', name: 'a' }],
    ['localhost:5000/a/b:1', { registry: 'localhost:5000', name: 'a/b', tag: '1' }],
    ['[::1]:5000/a', { registry: '[::1]:5000', name: 'a' }],
    [`h.example/a/b/c:1@${digest}`, { registry: 'h.example', name: 'a/b/c', tag: '1', digest }],
    [`h.example/a@${digest}`, { registry: 'h.example', name: 'a', digest }],
    ['h.example/a__b/c--d/e.f', { registry: 'h.example', name: 'a__b/c--d/e.f' }],
  ]
  for (const [text, expected, written = text] of good) {
    t.same(parseReference(text), expected, text)
    t.equal(formatReference(parseReference(text)), written)
    t.same(parseReference(written), expected, 'and back')
  }
  const bad = [
    '',
    ':1',
    'https://h.example/a',
    'h.example/',
    'h.example/A',
    'h.example/a:',
    'h.example/a:b c',
    'h.example/a/../b',
    'h.example//a',
    'h.example/a@sha256:abc',
    `h.example/a@${digest}@${digest}`,
    `h.example/a:${'x'.repeat(129)}`,
    `h.example/${'x'.repeat(256)}`,
    'h.example/-a',
    'h_x.example/a',
    'user@h.example/a',
  ]
  for (const text of bad) t.throws(() => parseReference(text), { code: 'INPUT_INVALID' }, text)
  t.throws(() => parseRepository('h.example/a:1'), {
    code: 'INPUT_INVALID',
    hint: /h\.example\/a\.$/,
  })
  t.same(
    [isRepositoryName('a/b'), isRepositoryName('..'), isRepositoryName('a/_b')],
    [true, false, false],
  )
  t.same([isTag('1.0'), isTag('..'), isTag('a/b'), isTag('')], [true, false, false, false])
})
