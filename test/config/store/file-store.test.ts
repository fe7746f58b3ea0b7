import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { withFileLock } from '../../../src/config/store/file/lock.ts'
import { openFileStore } from '../../../src/config/store/file/store.ts'
import { run } from '../../../src/core/process/process.ts'
import { TYPESCRIPT } from '../../support/typescript.ts'
import { testStore } from './store-conformance.ts'

const folder = t.testdir()
let count = 0
const put = (extension: string, text: string) => {
  const path = join(folder, `file-${++count}${extension}`)
  writeFileSync(path, text)
  return path
}
for (const [extension, empty] of [
  ['.yaml', ''],
  ['.yml', '# ours\n'],
  ['.json', ''],
  ['.json', '{}\n'],
  ['.properties', ''],
] as const) {
  t.test(`a ${extension} file of ${JSON.stringify(empty)} is a config store as every other`, (t) =>
    testStore(t, {
      async open() {
        const path = put(extension, empty)
        return { first: openFileStore(path), second: openFileStore(path) }
      },
    }),
  )
}

t.test('the file of a store', async (t) => {
  t.test('that is missing is named', async (t) => {
    const store = openFileStore(join(folder, 'none.yaml'))
    await t.rejects(store.snapshot(['/']), {
      code: 'NOT_FOUND',
      message: /^file:.*none\.yaml: there is no file/,
      hint: /crosscloud\.yml/,
    })
    await t.rejects(store.change([{ key: '/a', value: '1' }]), { code: 'NOT_FOUND' })
    t.notOk(existsSync(join(folder, 'none.yaml')), 'is not created')
  })
  t.test('of an unknown kind, a folder, or not in UTF-8 is refused', async (t) => {
    t.throws(() => openFileStore('x.toml'), { code: 'INPUT_INVALID' })
    mkdirSync(join(folder, 'folder.yaml'))
    await t.rejects(openFileStore(join(folder, 'folder.yaml')).snapshot(['/']), {
      code: 'INPUT_INVALID',
    })
    const path = put('.yaml', '')
    writeFileSync(path, Buffer.from([0x61, 0x3a, 0x20, 0xff]))
    await t.rejects(openFileStore(path).snapshot(['/']), {
      code: 'INPUT_INVALID',
      message: /UTF-8/,
    })
  })
  t.test('keeps its mode and its link, and no other file is left', async (t) => {
    const inside = join(folder, 'links')
    mkdirSync(inside)
    writeFileSync(join(inside, 'real.yaml'), 'a: 1\n')
    chmodSync(join(inside, 'real.yaml'), 0o640)
    symlinkSync('real.yaml', join(inside, 'link.yaml'))
    await openFileStore(join(inside, 'link.yaml')).change([{ key: '/a', value: '2' }])
    t.equal(readFileSync(join(inside, 'real.yaml'), 'utf8'), 'a: "2"\n')
    t.equal(statSync(join(inside, 'real.yaml')).mode & 0o7777, 0o640)
    t.same(readdirSync(inside).sort(), ['link.yaml', 'real.yaml'])
  })
  t.test('a cancelled change changes nothing', async (t) => {
    const path = put('.yaml', 'a: 1\n')
    const store = openFileStore(path, { signal: AbortSignal.abort() })
    await t.rejects(store.change([{ key: '/a', value: '2' }]), { code: 'CANCELLED' })
    t.equal(readFileSync(path, 'utf8'), 'a: 1\n')
  })
})

t.test('a file is changed by one process at a time', async (t) => {
  const path = put('.yaml', 'a: 1\n')
  t.test('the lock of a dead process is taken over, by one process only', async (t) => {
    const { stdout } = await run(process.execPath, ['-p', 'process.pid'])
    const holder = { pid: Number(stdout), host: (await import('node:os')).hostname(), id: 'x' }
    writeFileSync(`${path}.lock`, JSON.stringify(holder))
    let inside = 0
    await Promise.all(
      Array.from({ length: 5 }, () =>
        withFileLock(path, async () => {
          t.equal(++inside, 1)
          await new Promise((resolve) => setTimeout(resolve, 3))
          inside--
        }),
      ),
    )
    t.notOk(existsSync(`${path}.lock`))
  })
  t.test('the lock of a living process is waited for, then its holder is named', async (t) => {
    await withFileLock(path, async () => {
      await t.rejects(
        withFileLock(path, async () => {}, { timeout: 50 }),
        { code: 'CONFLICT', retryable: true, message: new RegExp(`process ${process.pid}`) },
      )
    })
    const otherHost = JSON.stringify({ pid: 1, host: 'elsewhere', id: 'y' })
    writeFileSync(`${path}.lock`, otherHost)
    await t.rejects(
      withFileLock(path, async () => {}, { timeout: 50 }),
      { code: 'CONFLICT', hint: /remove/ },
    )
    t.equal(readFileSync(`${path}.lock`, 'utf8'), otherHost)
  })
})

t.test('several processes write at once and lose nothing', async (t) => {
  const path = put('.yaml', '# kept\nn: 0\n')
  const module = new URL('../../../src/config/store/file/store.ts', import.meta.url).href
  const code = `import { openFileStore } from ${JSON.stringify(module)}
    const store = openFileStore(process.argv[1])
    for (let i = 0; i < 10; i++) await store.change([{ key: '/p' + process.argv[2] + '/' + i, value: String(i) }])`
  const flags = ['--import', TYPESCRIPT, '--input-type=module', '-e', code]
  await Promise.all(['1', '2', '3'].map((n) => run(process.execPath, [...flags, path, n])))
  t.equal((await openFileStore(path).snapshot(['/'])).size, 31)
  t.match(readFileSync(path, 'utf8'), /^# kept\n/)
})

t.test('any keys and values come back from any format', async () => {
  const segment = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 8 })
    .map((s) => s.replace(/[/\p{Cc}\p{Cs}]/gu, '_'))
    .filter((s) => s !== '.' && s !== '..')
  const key = fc
    .array(segment, { minLength: 1, maxLength: 3 })
    .map((parts) => `/${parts.join('/')}`)
  const value = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.stringMatching(/^[ \t\n\r#:'"\\a-c0-9{}[\],&*!|>%@`-]{0,12}$/),
  )
  const entries = fc.array(fc.tuple(key, value), { maxLength: 8 })
  for (const extension of ['.yaml', '.json', '.properties']) {
    await fc.assert(
      fc.asyncProperty(entries, entries, async (before, after) => {
        const store = openFileStore(put(extension, ''))
        const wanted = new Map<string, string>()
        for (const batch of [before, after]) {
          const changes = new Map(batch)
          for (const [k, v] of changes) wanted.set(k, v)
          await store.change([...changes].map(([k, v]) => ({ key: k, value: v })))
        }
        const first = [...wanted.keys()][0]
        if (first !== undefined) {
          await store.change([{ key: first, value: null }])
          wanted.delete(first)
        }
        assert.deepStrictEqual(
          new Map([...(await store.snapshot(['/']))].sort()),
          new Map([...wanted].sort()),
        )
      }),
      { numRuns: 20 },
    )
  }
})
