import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { writeFiles } from '../../../src/config/template/write-files.ts'
import { isStepError } from '../../../src/core/errors.ts'

const file = (path: string, text = 'x', mode = 0o640) => ({
  path,
  content: Buffer.from(text),
  mode,
  uid: 1234,
  gid: 1235,
})

t.test('files are written', async (t) => {
  const out = mkdtempSync(join(tmpdir(), 'crosscloud-place-'))
  t.teardown(() => rmSync(out, { recursive: true }))
  t.test('with mode and owner, over existing files, and no other file is left', async (t) => {
    await writeFiles(join(out, 'new'), [file('/etc/app/a.conf', 'one'), file('/b', 'two', 0o444)])
    await writeFiles(join(out, 'new'), [file('/etc/app/a.conf', 'three', 0o600)])
    const path = join(out, 'new/etc/app/a.conf')
    t.equal(readFileSync(path, 'utf8'), 'three')
    t.equal(statSync(path).mode & 0o7777, 0o600)
    t.equal(statSync(join(out, 'new/b')).mode & 0o7777, 0o444)
    if (process.getuid?.() === 0) t.match(statSync(path), { uid: 1234, gid: 1235 })
    t.same(readdirSync(join(out, 'new/etc/app')), ['a.conf'])
  })
  t.test('only where content, mode or owner differ', async (t) => {
    const folder = t.testdir()
    const first = file('/etc/app.conf', 'a=1\n', 0o640)
    const inode = () => statSync(join(folder, 'etc/app.conf')).ino
    await writeFiles(folder, [first])
    for (const other of [{ mode: 0o600 }, { content: Buffer.from('a=2\n') }]) {
      const before = inode()
      await writeFiles(folder, [first])
      t.equal(inode(), before)
      await writeFiles(folder, [{ ...first, ...other }])
      t.not(inode(), before)
      await writeFiles(folder, [first])
    }
    t.equal(readFileSync(join(folder, 'etc/app.conf'), 'utf8'), 'a=1\n')
  })

  t.test(
    'inside the folder only: paths and links that lead elsewhere are refused, and nothing is written',
    async (t) => {
      const root = join(out, 'links')
      mkdirSync(join(root, 'real'), { recursive: true })
      symlinkSync(join(out, 'elsewhere'), join(root, 'link'))
      mkdirSync(join(out, 'elsewhere'))
      writeFileSync(join(root, 'file'), 'old')
      mkdirSync(join(root, 'taken'))
      for (const bad of [
        '/../x',
        '/a/../../x',
        'x',
        '/a\0b',
        '/',
        '/a/',
        '//a',
        '/./a',
        '/link/x',
        '/file/x',
        '/taken',
        '/real',
      ]) {
        await t.rejects(
          writeFiles(root, [file('/first'), file(bad)]),
          { code: 'INPUT_INVALID' },
          JSON.stringify(bad),
        )
      }
      await t.rejects(writeFiles(root, [file('/a'), file('/a')]), {
        code: 'INPUT_INVALID',
        message: /twice/,
      })
      t.same(readdirSync(root).sort(), ['file', 'link', 'real', 'taken'])
      t.same(readdirSync(join(out, 'elsewhere')), [])
      await t.rejects(writeFiles(root, [file('/first')], AbortSignal.abort()), {
        code: 'CANCELLED',
      })
      t.notOk(existsSync(join(root, 'first')))
    },
  )
  t.test('in place of a link, which is not followed', async (t) => {
    writeFileSync(join(out, 'precious'), 'keep')
    mkdirSync(join(out, 'own'))
    symlinkSync(join(out, 'precious'), join(out, 'own/a'))
    await writeFiles(join(out, 'own'), [file('/a', 'new')])
    t.equal(readFileSync(join(out, 'precious'), 'utf8'), 'keep')
    t.ok(lstatSync(join(out, 'own/a')).isFile())
  })
  t.test('below the folder, whatever the path', async (t) => {
    const root = join(out, 'jail/root')
    mkdirSync(join(out, 'jail/root'), { recursive: true })
    const segment = fc.oneof(
      fc.constantFrom('..', '.', '', 'a', 'b', '...', '.. ', '\\..', '%2e%2e', '~'),
      fc.string({ maxLength: 5 }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(segment, { minLength: 1, maxLength: 5 }), async (parts) => {
        const written = await writeFiles(root, [file(`/${parts.join('/')}`)]).then(
          () => true,
          (error: unknown) => {
            if (!isStepError(error, 'INPUT_INVALID')) throw error
            return false
          },
        )
        if (readdirSync(join(out, 'jail')).length !== 1) throw new Error('escaped')
        if (written && readdirSync(root).length !== 1)
          throw new Error('nothing, or more, was written')
        for (const name of readdirSync(root)) rmSync(join(root, name), { recursive: true })
      }),
      { numRuns: 150 },
    )
    t.same(readdirSync(join(out, 'jail')), ['root'])
  })
  t.test('all or none: a failure while staging leaves the old files, and no other', async (t) => {
    const root = join(out, 'failing')
    mkdirSync(root)
    writeFileSync(join(root, 'a'), 'old')
    const tooLong = `/${`${'d'.repeat(250)}/`.repeat(16)}${'x'.repeat(60)}`
    await t.rejects(writeFiles(root, [file('/a', 'new'), file(tooLong)]), {
      message: /writing below/,
    })
    t.equal(readFileSync(join(root, 'a'), 'utf8'), 'old')
    t.same(readdirSync(root).sort(), ['a', 'd'.repeat(250)])
  })
})
