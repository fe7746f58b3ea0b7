import { rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  changedKeys,
  configRevision,
  describeRevision,
  fingerprintKey,
  keptKeys,
  revisionInput,
} from '../../../src/config/rules/revision.ts'
import { renderAll } from '../../../src/config/template/render.ts'
import { readTemplateFolder, readTemplates } from '../../../src/config/template/resources.ts'
import { compileTemplates } from '../../../src/config/template/templates.ts'
import { sha256 } from '../../../src/core/digest.ts'
import { isStepError, type StepError } from '../../../src/core/errors.ts'
import { suggest } from '../../../src/core/settings/suggest.ts'

const buffers = (files: Record<string, string>) =>
  new Map(Object.entries(files).map(([path, text]) => [path, Buffer.from(text)]))
const failure = (work: () => unknown): StepError => {
  try {
    work()
  } catch (error) {
    if (isStepError(error)) return error
    throw error
  }
  throw new Error('it did not fail')
}

t.test('template resources are read as confd writes them', async (t) => {
  const [app, nginx] = readTemplates(
    buffers({
      'conf.d/app.toml':
        '[template]\nsrc = "app.hbs"\ndest = "/opt/app/app.properties"\nkeys = ["/db", "web"]\nprefix = "webapi"\nmode = "0600"\nuid = 1000\ngid = 1001\ncheck_cmd = "check {{.src}}"\nreload_cmd = "reload"\n',
      'conf.d/deep/er/nginx.toml':
        '# minimal\n[template]\nsrc = "sub/nginx.hbs"\ndest = "/etc/nginx.conf"\n',
      'conf.d/README.md': 'not read',
      'templates/app.hbs': 'a',
      'templates/sub/nginx.hbs': 'b',
      'config.schema.json': '{}',
    }),
  )
  t.match(app, {
    resource: 'conf.d/app.toml',
    template: 'templates/app.hbs',
    dest: '/opt/app/app.properties',
    prefix: '/webapi',
    roots: ['/webapi/db', '/webapi/web'],
    mode: 0o600,
    uid: 1000,
    gid: 1001,
    checkCmd: 'check {{.src}}',
    reloadCmd: 'reload',
  })
  t.match(nginx, {
    resource: 'conf.d/deep/er/nginx.toml',
    template: 'templates/sub/nginx.hbs',
    prefix: '/',
    roots: ['/'],
    mode: 0o644,
    uid: 0,
    gid: 0,
  })
  t.equal(nginx?.checkCmd, undefined)
})

t.test('all problems of template resources are reported at once, with lines', async (t) => {
  const files = buffers({
    'templates/a.hbs': '',
    'conf.d/01.toml':
      '[template]\nsrc = "a.hbs"\ndest = "/a"\nrelaod_cmd = "x"\nmode = 644\nuid = "1000"\n',
    'conf.d/02.toml':
      '[template]\nsrc = "../../etc/passwd"\ndest = "etc/a"\nkeys = "/a"\nmode = "rw-r--r--"\n',
    'conf.d/03.toml': '[template]\nsrc = "b.hbs"\ndest = "/etc/../a"\nmode = "4755"\ngid = -1\n',
    'conf.d/04.toml': 'src = "a.hbs"\n[templat]\ndest = "/a"\n',
    'conf.d/05.toml': '[template]\nsrc = "a.hbs\ndest = "/a"\n',
    'conf.d/06.toml': '[template]\n',
    'conf.d/07.toml': '[template]\nsrc = "a.hbs"\ndest = "/ok"\n',
    'conf.d/08.toml': '[template]\nsrc = "a.hbs"\ndest = "/ok"\n',
    'conf.d/09.toml': '[template]\nsrc = "a.hbs"\ndest = "/ok/below"\n',
    'conf.d/10.toml': '[template]\nsrc = "/a.hbs"\ndest = "/a/"\nreload_cmd = ["x"]\nkeys = [1]\n',
    'conf.d/11.toml': '[template]\nsrc = "a.hbs"\ndest = "/a\\u0000b"\nuid = 1.5\n',
  })
  const error = failure(() => readTemplates(files))
  t.equal(error.code, 'INPUT_INVALID')
  const lines = error.message.split('\n')
  for (const wanted of [
    'conf.d/01.toml:4: relaod_cmd is not known: did you mean reload_cmd?',
    /01\.toml:5: mode must be a string of octal/,
    /01\.toml:6: uid must be/,
    /02\.toml:2: src "\.\.\/\.\.\/etc\/passwd" leads out/,
    /02\.toml:3: dest "etc\/a" is not an absolute/,
    /02\.toml:4: keys must be a list/,
    /02\.toml:5: mode/,
    'conf.d/03.toml:2: there is no templates/b.hbs: did you mean a.hbs?',
    /03\.toml:3: dest .* has a \. or \.\./,
    /03\.toml:4: mode/,
    /03\.toml:5: gid/,
    /04\.toml:1: src belongs below \[template\]/,
    /04\.toml:2: templat is not known: did you mean template\?$/,
    /04\.toml: there is no \[template\]/,
    /05\.toml:2: /,
    /06\.toml:1: src is missing/,
    /06\.toml:1: dest is missing/,
    'conf.d/08.toml: dest /ok is also that of conf.d/07.toml',
    'conf.d/09.toml: dest /ok/below is below /ok, a file of conf.d/07.toml',
    /10\.toml:2: src "\/a\.hbs" leads out/,
    /10\.toml:3: dest .* empty part/,
    /10\.toml:4: reload_cmd must be a string/,
    /10\.toml:5: keys/,
    /11\.toml:3: dest has a NUL/,
    /11\.toml:4: uid/,
  ]) {
    t.ok(
      lines.some((line) => (typeof wanted === 'string' ? line === wanted : wanted.test(line))),
      `${wanted} in\n${error.message}`,
    )
  }
  t.match(
    failure(() => readTemplates(buffers({ 'templates/a': '' }))).message,
    /no template resource/,
  )
})

t.test('a misspelt word gets the nearest known word as suggestion', async (t) => {
  const known = ['src', 'dest', 'keys', 'reload_cmd', 'check_cmd']
  t.equal(suggest('chekc_cmd', known), 'check_cmd')
  t.equal(suggest('Dest', known), 'dest')
  t.equal(suggest('owner', known), undefined)
})

t.test(
  'a template folder is read whole, within its limits, and links must stay inside it',
  async (t) => {
    const folder = t.testdir({ 'conf.d': { a: { 'x.toml': 'x' } }, templates: { 'a.hbs': 'a' } })
    symlinkSync('a.hbs', join(folder, 'templates/link.hbs'))
    t.same(
      [...(await readTemplateFolder(folder))].map(([path, bytes]) => [path, String(bytes)]),
      [
        ['conf.d/a/x.toml', 'x'],
        ['templates/a.hbs', 'a'],
        ['templates/link.hbs', 'a'],
      ],
    )
    const refuses = async (name: string, make: (path: string) => void, message: RegExp) => {
      const path = join(folder, 'templates', name)
      make(path)
      await t.rejects(readTemplateFolder(folder), { code: 'INPUT_INVALID', message }, name)
      rmSync(path, { recursive: true })
    }
    await refuses(
      'out',
      (path) => symlinkSync('/etc/passwd', path),
      /templates\/out: .*out of the template folder/,
    )
    await refuses('folder', (path) => symlinkSync('..', path), /templates\/folder/)
    await refuses(
      'big',
      (path) => writeFileSync(path, Buffer.alloc(1024 * 1024 + 1)),
      /big: larger than 1 MiB/,
    )
    symlinkSync('nowhere', join(folder, 'templates/dangling'))
    await t.rejects(readTemplateFolder(folder), { code: 'NOT_FOUND' })
    await t.rejects(readTemplateFolder(join(folder, 'none')), {
      code: 'NOT_FOUND',
      message: /none/,
    })
    await t.rejects(readTemplateFolder(folder, AbortSignal.abort()), { code: 'CANCELLED' })
  },
)

t.test('a config revision follows from what is rendered', async (t) => {
  const templates = readTemplates(
    buffers({
      'conf.d/a.toml': '[template]\nsrc = "a"\ndest = "/etc/a"\n',
      'conf.d/b.toml': '[template]\nsrc = "b"\ndest = "/etc/b"\n',
      'templates/a': 'p={{getv "/pin"}}',
      'templates/b': 'u={{getv "/user"}} {{getv "/none" "d"}}',
    }),
  )
  const of = async (values: Record<string, string>, use = templates) => {
    const snapshot = new Map(Object.entries(values))
    const { files } = renderAll({
      templates: await compileTemplates(use),
      snapshot,
      environment: 'x',
    })
    return revisionInput(use, files, (name) => {
      const value = snapshot.get(name) ?? ''
      const secret = name === '/pin'
      return { value, secret, kept: secret ? 'enc:v1:x' : value }
    })
  }
  const key = fingerprintKey('0123456789abcdef0123')
  const base = { '/pin': '4711', '/user': 'app', '/unused': 'u' }
  t.same([...(await of(base)).keys].sort(), [
    ['/pin', { value: '4711', secret: true, kept: 'enc:v1:x' }],
    ['/user', { value: 'app', secret: false, kept: 'app' }],
  ])

  t.test('revisions are the same for the same input, in any order', async (t) => {
    t.match(configRevision(await of(base)), /^sha256:[0-9a-f]{64}$/)
    const turned = await of(
      { '/user': 'app', '/pin': '4711', '/unused': 'other' },
      templates.toReversed(),
    )
    t.equal(configRevision(turned), configRevision(await of(base)))
    t.equal(configRevision(turned, key), configRevision(await of(base), key))
    t.equal(describeRevision(turned, key), describeRevision(await of(base), key))
  })
  t.test('revisions differ with any value, template, mode, owner, path', async (t) => {
    const input = await of(base)
    const [first, ...rest] = input.files
    if (first === undefined) throw new Error('no file')
    const pin = await of({ ...base, '/pin': '4712' })
    t.not(configRevision(pin, key), configRevision(input, key), 'a secret, where there is a key')
    const others = [
      await of({ ...base, '/user': 'app ' }),
      {
        ...input,
        templates: new Map([...input.templates, ['templates/a', Buffer.from('p=4711')] as const]),
      },
      ...[{ mode: 0o600 }, { uid: 5 }, { gid: 5 }, { path: '/etc/c' }].map((change) => ({
        ...input,
        files: [{ ...first, ...change }, ...rest],
      })),
      {
        ...input,
        files: [first, ...rest.map((file) => ({ ...file, content: Buffer.from('u=app') }))],
      },
    ]
    const all = [input, ...others].flatMap((one) => [configRevision(one), configRevision(one, key)])
    t.equal(new Set(all).size, all.length)
  })
  t.test('revisions contain nothing of a secret without a key', async (t) => {
    const some = ['4711', '4712', 'a long one that is never guessed'].map(async (pin) => {
      const input = await of({ ...base, '/pin': pin })
      const keys = new Map(input.keys).set('/pin', { value: pin, secret: true, kept: null })
      return [configRevision({ ...input, keys }), describeRevision({ ...input, keys })]
    })
    const [first, ...others] = await Promise.all(some)
    for (const other of others) t.strictSame(other, first)
  })
  t.test('revisions show which keys changed, and nothing of their values', async (t) => {
    const before = describeRevision(await of(base), key)
    const after = describeRevision(await of({ ...base, '/pin': '4712' }), key)
    t.same(changedKeys(before, after), { added: [], removed: [], changed: ['/pin'], unknown: [] })
    t.same(changedKeys(before, before), { added: [], removed: [], changed: [], unknown: [] })
    const without = readTemplates(
      buffers({
        'conf.d/b.toml': '[template]\nsrc = "b"\ndest = "/etc/b"\n',
        'templates/b': '{{getv "/user"}}',
      }),
    )
    const fewer = describeRevision(await of(base, without), key)
    t.same(changedKeys(before, fewer).removed, ['/pin'])
    t.same(changedKeys(fewer, before).added, ['/pin'])
    const other = describeRevision(await of(base), fingerprintKey('another secret of the shop'))
    t.same(changedKeys(before, other).unknown, ['/pin'])
    const bare = describeRevision(await of(base))
    t.same(changedKeys(bare, bare).unknown, ['/pin'])
    const moved = describeRevision(await of({ ...base, '/user': 'other' }), key)
    t.same(changedKeys(before, moved).changed, ['/user'])
    for (const text of [before, bare]) t.notMatch(text, /4711/)
    t.same(keptKeys(bare), {
      values: new Map([
        ['/pin', 'enc:v1:x'],
        ['/user', 'app'],
      ]),
      withheld: [],
    })
    const input = await of(base)
    const keys = new Map(input.keys).set('/pin', { value: '4711', secret: true, kept: null })
    t.same(keptKeys(describeRevision({ ...input, keys }, key)).withheld, ['/pin'])
    // Whoever has the ledger alone cannot find a four-digit PIN by trying them all.
    for (const text of [before, bare]) {
      for (let pin = 0; pin < 10_000; pin++) {
        const guess = String(pin).padStart(4, '0')
        for (const form of [guess, `/pin=${guess}`, `p=${guess}`]) {
          if (text.includes(sha256(form).slice(7))) t.fail(`found ${guess}`)
        }
      }
    }
    t.throws(() => fingerprintKey('short'), { code: 'INPUT_INVALID' })
  })
})
