import t from 'tap'
import { createSecrets } from '../../src/core/secrets.ts'
import { parseSettings } from '../support/data/settings.ts'

const read = (proxy: string) =>
  parseSettings(
    `app: webapi\nenvironments:\n  test:\n    image: r.example.com/webapi\n    proxy: ${proxy}\n`,
    'crosscloud.yml',
    {},
    createSecrets(),
  ).then(({ environments }) => environments.test?.proxy)

const nginx = 'folder: /etc/nginx/crosscloud, status: "http://lb-01/.crosscloud/webapi"'

t.test('each kind of proxy is read once, with its defaults', async (t) => {
  t.match(await read(`{ nginx: { ${nginx} } }`), {
    drain: 30_000,
    nginx: { at: undefined, command: ['nginx'], 'pid-file': '/run/nginx.pid', sessions: 'none' },
  })
  t.match(
    await read(
      `{ drain: 1m, nginx: { at: "ssh://deploy@lb-01:2222", command: [sudo, -n, /usr/sbin/nginx], ${nginx} } }`,
    ),
    { drain: 60_000, nginx: { at: { kind: 'ssh', host: 'lb-01', port: 2222, user: 'deploy' } } },
  )
  const socket = 'ssh://deploy@lb-01/run/haproxy/admin.sock'
  t.match(await read(`{ haproxy: { socket: "${socket}" } }`), {
    haproxy: { socket: { kind: 'ssh', host: 'lb-01', socket: '/run/haproxy/admin.sock' } },
  })
  t.match(await read('{ haproxy: { socket: "tcp://[::1]:9999" } }'), {
    haproxy: { socket: { kind: 'tcp', host: '::1', port: 9999 } },
  })
  t.match(await read('{ commands: { take-out: [a, "{{host}}"], put-in: [b], check: [c] } }'), {
    commands: { 'take-out': ['a', '{{host}}'], timeout: 30_000 },
  })
})

const bad: [string, string, RegExp][] = [
  ['none', '{ drain: 30s }', /proxy names no proxy; write exactly one of nginx, haproxy, commands/],
  [
    'two',
    `{ nginx: { ${nginx} }, haproxy: { socket: "tcp://lb:1" } }`,
    /proxy names nginx and haproxy; write exactly one/,
  ],
  ['a slip', '{ ngnix: {} }', /proxy\.ngnix is not a known setting: did you mean nginx\?/],
  [
    'an engine without container',
    `{ nginx: { at: "tcp://lb:2375", ${nginx} } }`,
    /nginx\.at is a Docker Engine: name the container/,
  ],
  [
    'a container without engine',
    `{ nginx: { container: lb, ${nginx} } }`,
    /nginx\.container needs/,
  ],
  [
    'a folder that leads elsewhere',
    '{ nginx: { folder: "/etc/../x", status: "http://lb/x" } }',
    /nginx\.folder is not an absolute path.*without "\."/,
  ],
  [
    'a folder that could be more than a path',
    '{ nginx: { folder: "/etc/x;y", status: "http://lb/x" } }',
    /nginx\.folder is not an absolute path/,
  ],
  [
    'a socket without path',
    '{ haproxy: { socket: "ssh://lb-01" } }',
    /not the address of a runtime/,
  ],
  [
    'a state file by TCP',
    '{ haproxy: { socket: "tcp://lb:1", state-file: /x } }',
    /haproxy\.state-file cannot be written/,
  ],
  [
    'an unknown placeholder',
    '{ commands: { take-out: [a, "{{hots}}"], put-in: [b], check: [c] } }',
    /commands\.take-out\.1 has \{\{hots\}\}, which is no placeholder; did you mean \{\{host\}\}\?/,
  ],
  ['a missing verb', '{ commands: { take-out: [a], check: [c] } }', /put-in is required/],
  ['no program', '{ commands: { take-out: [], put-in: [b], check: [c] } }', /take-out/],
]

for (const [what, proxy, expected] of bad) {
  t.test(`${what} is refused, with its line`, async (t) => {
    await t.rejects(read(proxy), { code: 'INPUT_INVALID', message: expected })
    await t.rejects(read(proxy), { message: /^crosscloud\.yml:5 / })
  })
}
