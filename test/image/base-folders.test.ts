import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { pack } from 'tar-stream'
import { sha256 } from '../../src/core/digest.ts'
import { run } from '../../src/core/process/process.ts'
import { folderRecords } from '../../src/image/base/folder-records.ts'
import {
  type BaseFolders,
  fileBelow,
  type LayerFolders,
  mergeFolders,
} from '../../src/image/base/folders.ts'
import { readLayerFolders } from '../../src/image/base/layer-folders.ts'
import { placeOnBase } from '../../src/image/base/place.ts'
import { buildLayer } from '../../src/image/build.ts'
import { cachedBlob, layerKey } from '../../src/image/cache.ts'
import { type LayerPlan, planTexts } from '../../src/image/layers.ts'
import { temporaryFolder } from '../support/temporary.ts'

const layer = (some: Partial<LayerFolders>): LayerFolders => ({
  folders: {},
  links: {},
  files: {},
  removed: [],
  emptied: [],
  ...some,
})

t.test('all folders of a base that differ from a new folder are known', async (t) => {
  const lower = layer({
    folders: {
      tmp: [0, 0, 0o1777],
      opt: [0, 0, 0o755],
      'opt/app': [7, 8, 0o750],
      usr: [0, 0, 0o755],
    },
    links: { bin: 'usr/bin' },
  })
  const upper = layer({ folders: { 'opt/app': [1000, 1000, 0o770], 'usr/bin': [0, 0, 0o755] } })
  t.strictSame(mergeFolders([lower, upper]), {
    folders: { 'opt/app': [1000, 1000, 0o770], tmp: [0, 0, 0o1777] },
    links: { bin: 'usr/bin' },
    files: {},
  })
  const plain = layer({ folders: { 'opt/app': [0, 0, 0o755] } })
  t.strictSame(mergeFolders([lower, plain]).folders, { tmp: [0, 0, 0o1777] })
})

t.test('a path that an upper layer deletes is gone', async (t) => {
  const lower = layer({
    folders: { a: [1, 1, 0o700], 'a/b': [2, 2, 0o700], ab: [3, 3, 0o700] },
    links: { 'a/link': '/ab', link: 'ab' },
  })
  t.strictSame(mergeFolders([lower, layer({ removed: ['a', 'link'] })]), {
    folders: { ab: [3, 3, 0o700] },
    links: {},
    files: {},
  })
  t.strictSame(mergeFolders([lower, layer({ emptied: ['a'] })]), {
    folders: { a: [1, 1, 0o700], ab: [3, 3, 0o700] },
    links: { link: 'ab' },
    files: {},
  })
  const linked = layer({ links: { a: 'ab' } })
  t.strictSame(mergeFolders([lower, linked]), {
    folders: { ab: [3, 3, 0o700] },
    links: { a: 'ab', link: 'ab' },
    files: {},
  })
  t.strictSame(mergeFolders([linked, layer({ folders: { a: [4, 4, 0o711] } })]), {
    folders: { a: [4, 4, 0o711] },
    links: {},
    files: {},
  })
})

t.test('files of the base in a folder, or below it, are found', async (t) => {
  const root = 'opt/webapps/ROOT'
  const lower = layer({ files: { [root]: 'index.html', [`${root}/img`]: 'logo.png', etc: 'motd' } })
  const found = (...layers: LayerFolders[]) => fileBelow(root, mergeFolders([lower, ...layers]))
  t.equal(found(), `${root}/index.html`)
  t.equal(found(layer({ removed: [`${root}/index.html`] })), `${root}/img/logo.png`)
  for (const gone of [{ removed: [root] }, { emptied: [root] }, { removed: ['opt'] }]) {
    t.equal(found(layer(gone)), undefined, JSON.stringify(gone))
  }
  t.equal(found(layer({ removed: [root], files: { [root]: 'new.html' } })), `${root}/new.html`)
  t.equal(fileBelow('opt/webapps/ROOT2', mergeFolders([lower])), undefined)
  t.equal(fileBelow(root, { folders: {}, links: {} }), undefined, 'where nothing is known')
})

t.test('links are followed from folder to folder, as by a kernel', async (t) => {
  const { links } = mergeFolders([
    layer({
      folders: { 'opt/tomcat-10/webapps': [0, 0, 0o755], etc: [0, 0, 0o755] },
      links: {
        'opt/tomcat': 'tomcat-10',
        apps: '/opt/tomcat/webapps/',
        'opt/up': '../../../etc',
        one: 'two',
        two: 'one',
        file: 'etc/passwd',
      },
    }),
    layer({ folders: { 'opt/tomcat-10': [0, 0, 0o755] } }),
  ])
  t.strictSame(links, {
    apps: 'opt/tomcat-10/webapps',
    'opt/tomcat': 'opt/tomcat-10',
    'opt/up': 'etc',
  })
})

/** A tar as other tools write it. */
async function makeTar(): Promise<Buffer> {
  const tar = pack()
  const long = `${'long-name/'.repeat(15)}end`
  tar.entry({ name: './', type: 'directory', mode: 0o755 })
  tar.entry({ name: './tmp/', type: 'directory', mode: 0o1777 })
  tar.entry({ name: 'srv/logs', type: 'directory', mode: 0o40770, uid: 1000, gid: 1000 })
  tar.entry({ name: `${long}/`, type: 'directory', mode: 0o700, pax: { uid: '1000650000' } })
  tar.entry({ name: 'bin', type: 'symlink', linkname: 'usr/bin' })
  tar.entry({ name: 'srv/file.txt' }, 'x'.repeat(100_000))
  tar.entry({ name: 'srv/.wh.old.d' }, '')
  tar.entry({ name: 'srv/cache/.wh..wh..opq' }, '')
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

t.test("a layer's headers are read as it flows by, however it is packed", async (t) => {
  const tar = await makeTar()
  const expected = {
    folders: {
      tmp: [0, 0, 0o1777],
      'srv/logs': [1000, 1000, 0o770],
      [`${'long-name/'.repeat(15)}end`]: [1000650000, 0, 0o700],
    },
    links: { bin: 'usr/bin' },
    files: { srv: 'file.txt' },
    removed: ['srv/old.d'],
    emptied: ['srv/cache'],
  }
  const pieces = (bytes: Buffer) => {
    const parts = Array.from({ length: Math.ceil(bytes.length / 5000) }, (_, index) =>
      bytes.subarray(index * 5000, (index + 1) * 5000),
    )
    return Readable.from(parts, { objectMode: false })
  }
  const members = Buffer.concat([gzipSync(tar.subarray(0, 700)), gzipSync(tar.subarray(700))])
  for (const blob of [tar, gzipSync(tar), members]) {
    t.strictSame(await readLayerFolders(pieces(blob), sha256(tar)), expected)
  }
  const zstd = Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), Buffer.alloc(100)])
  t.equal(await readLayerFolders(pieces(zstd), sha256(tar)), undefined)
  await t.rejects(readLayerFolders(pieces(gzipSync(tar)), sha256('another')), {
    code: 'VERIFY_FAILED',
  })
  for (const bad of [Buffer.alloc(5000, 'no tar'), gzipSync(tar).subarray(0, 300)]) {
    await t.rejects(readLayerFolders(pieces(bad), sha256(tar)), {
      code: 'INPUT_INVALID',
      message: /not a readable tar/,
    })
  }
})

const textPlan = (root: string) =>
  planTexts('additions', root, new Map([['x/file', { content: Buffer.from('x'), mode: 0o644 }]]))
const onBase = (root: string, folders: BaseFolders['folders']): LayerPlan => {
  const [plan] = placeOnBase([textPlan(root)], { folders, links: {} })
  return plan as LayerPlan
}

t.test('a layer repeats the folders above its files with the attributes of the base', async (t) => {
  const folder = await temporaryFolder(t)
  const list = async (plan: LayerPlan) => {
    const { digest } = await buildLayer(plan, { folder })
    const { stdout } = await run('tar', [
      ...['tzvf', cachedBlob({ folder }, digest), '--numeric-owner'],
    ])
    return stdout.split('\n').map((line) => line.replace(/ +\d+ \d{4}-\d\d-\d\d \d\d:\d\d/, ''))
  }
  const base = {
    tmp: [0, 0, 0o1777],
    'tmp/logs': [1000650000, 1001, 0o2770],
    'tmp/logs/x': [7, 8, 0o700],
    other: [1, 1, 0o700],
  } as BaseFolders['folders']
  t.strictSame(await list(onBase('tmp/logs', base)), [
    'drwxrwxrwt 0/0 tmp/',
    'drwxrws--- 1000650000/1001 tmp/logs/',
    'drwx------ 7/8 tmp/logs/x/',
    '-rw-r--r-- 0/0 tmp/logs/x/file',
  ])
  const news = ['drwxr-xr-x 0/0 tmp/', 'drwxr-xr-x 0/0 tmp/logs/', 'drwxr-xr-x 0/0 tmp/logs/x/']
  const file = '-rw-r--r-- 0/0 tmp/logs/x/file'
  t.strictSame(await list(onBase('tmp/logs', {})), [...news, file])
  t.strictSame(await list(textPlan('tmp/logs')), [...news.slice(1), file], 'of an unknown base')
  t.match(await list(onBase('constructor', {})), ['drwxr-xr-x 0/0 constructor/'])
})

t.test(
  'a layer depends on the owners of the base’s folders above its files, and on no others',
  async (t) => {
    const key = (folders: BaseFolders['folders']) => layerKey(onBase('tmp/logs', folders))
    const layer = key({ tmp: [0, 0, 0o1777] })
    t.equal(key({ tmp: [0, 0, 0o1777], elsewhere: [1, 1, 0o700] }), layer)
    t.not(key({ tmp: [0, 0, 0o777] }), layer)
    t.not(key({ tmp: [0, 0, 0o1777], 'tmp/logs': [1000, 0, 0o755] }), layer)
  },
)

t.test(
  'a path through a link of the base is refused, and the error names its target',
  async (t) => {
    const base = { folders: {}, links: { bin: 'usr/bin', 'opt/tomcat': 'opt/tomcat-10' } }
    const place = (path: string) => placeOnBase([textPlan(path)], base)
    t.throws(() => place('bin'), {
      code: 'INPUT_INVALID',
      message:
        '/bin/x/file cannot be put into the image: /bin is a symbolic link of the base image',
      hint: /^Write \/usr\/bin in place of \/bin/,
    })
    t.throws(() => place('opt/tomcat/webapps'), {
      code: 'INPUT_INVALID',
      hint: /\/opt\/tomcat-10 in place/,
    })
    t.equal(place('binary').length, 1)
  },
)

t.test('a record in the cache counts only with our own seal', async (t) => {
  const folder = await temporaryFolder(t)
  const sealKey = Buffer.alloc(32, 'ours')
  const record = folderRecords({ folder, sealKey }).layer(sha256('layer'))
  t.equal(await record.read(), undefined)
  const value = layer({ folders: { tmp: [0, 0, 0o1777] } })
  await record.write(value)
  t.strictSame(await record.read(), value)
  const path = join(folder, 'folders', `${sha256('layer').slice(7)}.json`)
  const sealed = await readFile(path, 'utf8')
  const other = folderRecords({ folder, sealKey: Buffer.alloc(32, 'theirs') })
  t.equal(await other.layer(sha256('layer')).read(), undefined)
  t.equal(await folderRecords({ folder }).layer(sha256('layer')).read(), undefined)
  const changed = sealed.replace('1023', '511')
  for (const text of ['', sealed.slice(0, 80), JSON.stringify(value), changed]) {
    await writeFile(path, text)
    t.equal(await record.read(), undefined, text)
  }
})
