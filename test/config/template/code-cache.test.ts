import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { buildSync } from 'esbuild'
import t from 'tap'
import { renderAll } from '../../../src/config/template/render.ts'
import { type CompiledTemplate, compileTemplates } from '../../../src/config/template/templates.ts'
import { StepError } from '../../../src/core/errors.ts'
import { run } from '../../../src/core/process/process.ts'
import { type Files, templates } from '../../support/data/templates.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const sources: Files = {
  'a.hbs':
    'a={{getv "/a"}}\n{{#each (gets "/up/*")}}{{> _kv name=(base key)}}{{/each}}{{#if (exists "/x")}}{{getv "/x"}}{{/if}}{{join (getvs "/none/*") ","}}',
  'b.hbs': 'b={{toUpper (getv "/a")}} {{> _p}}',
  '_kv.hbs': '{{name}}={{value}}[{{@index}}];',
  '_p.hbs': '{{getv "/p" "d"}}é€😀',
}
const snapshot = new Map([
  ['/a', 'value'],
  ['/up/one', '1'],
  ['/up/two', '2'],
])
const wanted = ['a=value\none=1[0];two=2[1];', 'b=VALUE dé€😀']

const requirementsOf = (compiled: readonly CompiledTemplate[]) =>
  compiled.flatMap(({ program }) => {
    if (program instanceof StepError) throw program
    return program.requirements
  })
const render = async (folder: string | undefined, files = sources) => {
  const compiled = await compileTemplates(templates(files), folder)
  const { files: made, warnings } = renderAll({ templates: compiled, snapshot, environment: 'x' })
  const texts = made.map(({ content }) => String(content))
  return { texts, warnings, required: requirementsOf(compiled) }
}
const MAKE_PIPE = 'mkfifo'
const COMPILER = '1031adb277b849b3'

const entries = (folder: string) => readdirSync(folder).sort()

/** Writes an entry's code anew, with a checksum that fits. */
const reseal = (path: string, change: (code: string) => string) => {
  const old = readFileSync(path)
  const codeAt = 40 + old.readUInt32LE(32)
  const endsAt = codeAt + old.readUInt32LE(36)
  const code = Buffer.from(change(old.toString('utf8', codeAt, endsAt)))
  const entry = Buffer.concat([old.subarray(0, codeAt), code, Buffer.from('not for V8')])
  entry.writeUInt32LE(code.length, 36)
  createHash('sha256').update(entry.subarray(32)).digest().copy(entry)
  writeFileSync(path, entry)
}

t.test('a compiled template is found again, with its keys, patterns and partials', async (t) => {
  const folder = join(await temporaryFolder(t), 'deep', 'compiled')
  const without = await render(undefined)
  t.same(without.texts, wanted)
  t.same(without.warnings, ['no key in x matches /none/* (templates/a.hbs:2)'])
  t.same(await render(folder), without)
  const all = entries(folder)
  t.equal(all.length, 4)
  t.equal(lstatSync(folder).mode & 0o777, 0o700)
  for (const name of all) t.equal(lstatSync(join(folder, name)).mode & 0o777, 0o600)
  const code = all.map((name) => readFileSync(join(folder, name), 'utf8')).join()
  t.match(code, '$at("$print getv",data,1,2)', 'options are shared, not written out')
  const before = all.map((name) => lstatSync(join(folder, name)).ino)
  t.same(await render(folder), without)
  t.same(
    all.map((name) => lstatSync(join(folder, name)).ino),
    before,
    'nothing is written again',
  )
  for (const name of all) reseal(join(folder, name), (code) => code.replaceAll('"b="', '"c="'))
  t.equal(
    (await render(folder)).texts[1],
    `c${wanted[1]?.slice(1)}`,
    'it is the kept code that runs',
  )
})

t.test('a template that changed is compiled again', async (t) => {
  const folder = await temporaryFolder(t)
  const changed = { ...sources, 'b.hbs': 'B={{getv "/a"}}' }
  await render(folder)
  t.same((await render(folder, changed)).texts, [wanted[0], 'B=value'])
  t.equal(entries(folder).length, 5)
  t.same((await render(folder)).texts, wanted)
  t.test('and so is a template whose partial is another file now', async (t) => {
    const other: Files = { 'b.hbs': '{{> _p}}', _p: 'plain' }
    const { '_p.hbs': _, ...plain } = { ...sources, ...other }
    t.equal((await render(folder, { ...sources, 'b.hbs': '{{> _p}}' })).texts[1], 'dé€😀')
    t.equal((await render(folder, plain)).texts[1], 'plain')
    t.equal((await render(folder, { ...sources, ...other })).texts[1], 'plain')
    t.equal((await render(folder, { ...sources, 'b.hbs': '{{> _p}}' })).texts[1], 'dé€😀')
  })
  t.test('and a template with errors is reported each time', async (t) => {
    const bad = { 'a.hbs': '{{fo}}', 'b.hbs': '{{getv "/a"}}' }
    for (const _ of [1, 2])
      await t.rejects(render(folder, bad), { message: /a\.hbs:1: there is no/ })
  })
})

t.test(
  'an entry that is damaged or writable by others counts as absent, and is replaced',
  async (t) => {
    const base = await temporaryFolder(t)
    const elsewhere = join(base, 'elsewhere')
    const evil = (code: string) => code.replaceAll('"b="', '"EVIL="')
    const root = process.getuid?.() === 0
    const harm: Record<string, ((path: string, all: string[]) => void) | undefined> = {
      'code that is none': (path) => reseal(path, () => ')('),
      'code of another kind': (path) => reseal(path, () => '({})'),
      'code that throws': (path) => reseal(path, () => '() => { throw new Error("no") }'),
      truncated: (path) => truncateSync(path, lstatSync(path).size - 1),
      empty: (path) => truncateSync(path, 0),
      'cut to its head': (path) => truncateSync(path, 40),
      'one bit flipped': (path) => {
        const bytes = readFileSync(path)
        bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
        writeFileSync(path, bytes)
      },
      'another entry under this name': (path, all) => {
        const other = all.find((one) => one !== path) ?? ''
        writeFileSync(path, readFileSync(other))
      },
      'writable by the group': (path) => {
        reseal(path, evil)
        chmodSync(path, 0o620)
      },
      'writable by all': (path) => {
        reseal(path, evil)
        chmodSync(path, 0o602)
      },
      'a symbolic link': (path) => {
        reseal(path, evil)
        renameSync(path, elsewhere)
        symlinkSync(elsewhere, path)
      },
      'a pipe': (path) => {
        rmSync(path)
        execFileSync(MAKE_PIPE, [path])
      },
      "somebody else's": root
        ? (path) => {
            reseal(path, evil)
            chownSync(path, 65534, 65534)
          }
        : undefined,
    }
    for (const [what, change] of Object.entries(harm)) {
      t.test(what, { skip: change ? false : 'needs root' }, async (t) => {
        const folder = join(base, what)
        await render(folder)
        const all = entries(folder).map((name) => join(folder, name))
        for (const path of all) change?.(path, all)
        t.same((await render(folder)).texts, wanted)
        for (const path of all) {
          const status = lstatSync(path)
          t.ok(status.isFile())
          t.equal(status.mode & 0o777, 0o600)
          t.equal(status.uid, process.getuid?.())
        }
        for (const path of all) reseal(path, (code) => code.replaceAll('"b="', '"c="'))
        t.match((await render(folder)).texts[1], /^c=/, 'the new entries are used')
      })
    }
    t.test('machine code of another V8 is replaced', async (t) => {
      const folder = join(base, 'v8')
      await render(folder)
      // V8 would not even look at it for code that this process has seen.
      for (const name of entries(folder)) reseal(join(folder, name), (code) => `${code} `)
      t.same((await render(folder)).texts, wanted)
      for (const name of entries(folder)) {
        t.notOk(readFileSync(join(folder, name)).includes('not for V8'), 'is replaced')
      }
    })
  },
)

t.test('a folder that others may write to is not read', async (t) => {
  const base = await temporaryFolder(t)
  const plant = (folder: string) => {
    for (const name of entries(folder)) {
      reseal(join(folder, name), (code) => code.replaceAll('"b="', '"EVIL="'))
    }
  }
  const open = join(base, 'open')
  await render(open)
  plant(open)
  chmodSync(open, 0o770)
  t.same((await render(open)).texts, wanted, 'writable by the group: nothing in it is believed')
  t.equal(lstatSync(open).mode & 0o777, 0o700, 'it is closed')
  t.same((await render(open)).texts, wanted)

  const target = join(base, 'target')
  await render(target)
  plant(target)
  symlinkSync(target, join(base, 'link'))
  t.same((await render(join(base, 'link'))).texts, wanted, 'a symbolic link is not followed')

  writeFileSync(join(base, 'file'), '')
  t.same((await render(join(base, 'file'))).texts, wanted, 'a file in its place')
  t.same((await render(join(base, 'file', 'below'))).texts, wanted, 'no folder can be made')
})

t.test(
  'the size of the cache is bounded, and no other file in the folder is touched',
  async (t) => {
    const folder = await temporaryFolder(t)
    mkdirSync(folder, { recursive: true })
    chmodSync(folder, 0o700)
    const name = (digit: string, rest = '') => join(folder, `${digit.repeat(64)}${rest}.unit`)
    const days = (path: string, ago: number) => {
      const then = Date.now() / 1000 - ago * 24 * 3600
      utimesSync(path, then, then)
    }
    const make = (path: string, megabytes: number, ago: number) => {
      writeFileSync(path, '')
      truncateSync(path, megabytes << 20)
      days(path, ago)
    }
    const left = name('e', '.01234567-89ab-cdef-0123-456789abcdef')
    make(name('a'), 0, 31)
    make(left, 0, 31)
    make(name('b'), 40, 3)
    make(name('c'), 40, 2)
    make(join(folder, 'mine.hbs'), 1, 99)
    await render(folder)
    t.notOk(existsSync(name('a')), 'not used for a month')
    t.notOk(existsSync(left), 'left by a killed process')
    t.notOk(existsSync(name('b')), 'the oldest, where all are too much')
    t.ok(existsSync(name('c')))
    t.ok(existsSync(join(folder, 'mine.hbs')))
    t.equal(entries(folder).length, 6)

    const used =
      entries(folder).find((one) => one.endsWith('.unit') && !one.startsWith('ccc')) ?? ''
    days(join(folder, used), 20)
    await render(folder)
    t.ok(lstatSync(join(folder, used)).mtimeMs > Date.now() - 60_000, 'use is noted')
  },
)

t.test('many processes share a cache, and each gets a whole entry', async (t) => {
  const folder = await temporaryFolder(t)
  const script = join(folder, 'worker.mjs')
  const from = (name: string) =>
    new URL(`../../../src/config/template/${name}.ts`, import.meta.url).pathname
  // As plain JavaScript: tap's own loader takes seconds for each.
  buildSync({
    stdin: {
      contents: `
        import { readTemplates } from '${from('resources')}'
        import { compileTemplates } from '${from('templates')}'
        const files = new Map()
        for (let i = 0; i < 40; i++) {
          files.set('conf.d/' + i + '.toml', Buffer.from('[template]\\nsrc = "' + i + '"\\ndest = "/' + i + '"'))
          files.set('templates/' + i, Buffer.from('x{{getv "/' + i + '"}}'))
        }
        const compiled = await compileTemplates(readTemplates(files), process.argv[2])
        const bad = compiled.filter(({ program }) => program instanceof Error)
        process.stdout.write(bad.length + ' bad')`,
      resolveDir: import.meta.dirname,
      loader: 'js',
    },
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
  })
  // Beside the packages, so that they are found.
  const here = join(import.meta.dirname, `.compiled-worker-${process.pid}.mjs`)
  renameSync(script, here)
  t.teardown(() => rmSync(here, { force: true }))
  const cache = join(folder, 'compiled')
  const one = () => run(process.execPath, [here, cache])
  const results = await Promise.all([one(), one(), one(), one()])
  for (const { stdout } of results) t.equal(stdout, '0 bad')
  t.equal(entries(cache).length, 40)
  t.ok(
    entries(cache).every((name) => /^[0-9a-f]{64}\.unit$/.test(name)),
    'no leftovers',
  )
})

t.test('partials that multiply end in an error, not in hours', async (t) => {
  const files: Files = { 'a.hbs': '{{> _0}}', '_40.hbs': 'x' }
  for (let i = 0; i < 40; i++) {
    const next = `{{> _${i + 1}}}`
    files[`_${i}.hbs`] = `{{#if (exists "/k${i}")}}${next}{{/if}}${next}`
  }
  const start = Date.now()
  await t.rejects(render(undefined, files), {
    code: 'INPUT_INVALID',
    message: /too many ways/,
  })
  t.ok(Date.now() - start < 10_000)
})

t.test(
  'FORMAT of src/config/template/language/code-cache.ts was raised when the compiler changed',
  async (t) => {
    const hash = createHash('sha256')
    for (const name of ['ast', 'compile', 'requirements', 'syntax']) {
      hash.update(
        readFileSync(new URL(`../../../src/config/template/language/${name}.ts`, import.meta.url)),
      )
    }
    t.equal(
      hash.digest('hex').slice(0, 16),
      COMPILER,
      'These sources decide what is kept. Raise FORMAT, then write the new hash here.',
    )
  },
)
