import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { replaceFile, replaceFileSync, stageFile } from '../../../src/core/files/atomic-file.ts'
import { temporaryFolder } from '../../support/temporary.ts'

t.test('a file gets its new content and mode in one step, and no other file is left', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'a.txt')
  writeFileSync(path, 'before', { mode: 0o600 })
  await replaceFile(path, 'after', { mode: 0o644 })
  t.equal(readFileSync(path, 'utf8'), 'after')
  t.equal(statSync(path).mode & 0o777, 0o644)
  replaceFileSync(path, Buffer.from('at once'), 0o600)
  t.equal(readFileSync(path, 'utf8'), 'at once')
  t.strictSame(readdirSync(folder), ['a.txt'])
})

t.test(
  'while a file is written, readers see the old one, and the new one is private',
  async (t) => {
    const folder = await temporaryFolder(t)
    const path = join(folder, 'secret')
    writeFileSync(path, 'old')
    await replaceFile(
      path,
      async (file) => {
        await file.writeFile('half')
        t.equal(readFileSync(path, 'utf8'), 'old')
        t.equal((await file.stat()).mode & 0o777, 0o600)
        await file.appendFile(' and half')
      },
      { mode: 0o640, durable: false },
    )
    t.equal(readFileSync(path, 'utf8'), 'half and half')
    t.equal(statSync(path).mode & 0o777, 0o640)
  },
)

t.test('a failure leaves the old file, and nothing beside it', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'a.txt')
  writeFileSync(path, 'before')
  const fail = async () => {
    throw new Error('out of paper')
  }
  await t.rejects(replaceFile(path, fail, { mode: 0o644 }), { message: 'out of paper' })
  mkdirSync(join(folder, 'folder'))
  await t.rejects(replaceFile(join(folder, 'folder'), 'x', { mode: 0o644 }))
  t.throws(() => replaceFileSync(join(folder, 'folder'), Buffer.from('x'), 0o644))
  t.strictSame(readdirSync(folder), ['a.txt', 'folder'])
  t.equal(readFileSync(path, 'utf8'), 'before')
})

t.test('a link is replaced, not followed', async (t) => {
  const folder = await temporaryFolder(t)
  writeFileSync(join(folder, 'target'), 'keep')
  symlinkSync('target', join(folder, 'link'))
  await replaceFile(join(folder, 'link'), 'new', { mode: 0o644 })
  t.equal(readFileSync(join(folder, 'target'), 'utf8'), 'keep')
  t.equal(readFileSync(join(folder, 'link'), 'utf8'), 'new')
})

t.test('a staged file has a name of its own beside the final one', async (t) => {
  const folder = await temporaryFolder(t)
  const names = await Promise.all(
    ['1', '2'].map((content) => stageFile(join(folder, 'a'), content, { mode: 0o600 })),
  )
  t.equal(new Set(names).size, 2)
  t.strictSame(
    names.map((name) => readFileSync(name, 'utf8')),
    ['1', '2'],
  )
  t.ok(names.every((name) => name.startsWith(join(folder, '.a.'))))
})
