import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { pack } from 'tar-stream'
import { sha256 } from '../../src/core/digest.ts'
import { readSavedImage } from '../../src/image/saved-image.ts'
import { createFileTree } from '../../src/image/tree.ts'
import { temporaryFolder } from '../support/temporary.ts'

const signal = new AbortController().signal
const md5 = (text: string) => createHash('md5').update(text).digest('hex')

/** `a/b` → text of a file, `null` for a folder, `-> x` and `=> x` for links. */
async function layer(files: Record<string, string | null>): Promise<Buffer> {
  const tar = pack()
  for (const [name, text] of Object.entries(files)) {
    if (text === null) tar.entry({ name, type: 'directory' })
    else if (text.startsWith('-> ')) tar.entry({ name, type: 'symlink', linkname: text.slice(3) })
    else if (text.startsWith('=> ')) tar.entry({ name, type: 'link', linkname: text.slice(3) })
    else tar.entry({ name }, text)
  }
  tar.finalize()
  return buffer(tar as unknown as Readable)
}

const base = { 'srv/ROOT/a': '1', 'srv/ROOT/b/c': '2', 'srv/ROOT/b/d': '3', 'srv/other': '4' }
const table: Record<
  string,
  { above: Record<string, string | null>; files: Record<string, string> }
> = {
  'a file over a file': { above: { 'srv/ROOT/a': 'x' }, files: { a: 'x', 'b/c': '2', 'b/d': '3' } },
  'a deleted file': { above: { 'srv/ROOT/b/.wh.c': '' }, files: { a: '1', 'b/d': '3' } },
  'a deleted folder': { above: { 'srv/ROOT/.wh.b': '' }, files: { a: '1' } },
  'a deleted folder above': { above: { '.wh.srv': '' }, files: {} },
  'an emptied folder, with a new file': {
    above: { 'srv/ROOT/b/.wh..wh..opq': '', 'srv/ROOT/b/new': 'x' },
    files: { a: '1', 'b/new': 'x' },
  },
  'an emptied folder above': { above: { './srv/.wh..wh..opq': '' }, files: {} },
  'a file in place of a folder': { above: { 'srv/ROOT/b': 'x' }, files: { a: '1', b: 'x' } },
  'a folder in place of a file': {
    above: { 'srv/ROOT/a/': null, 'srv/ROOT/a/e': 'x' },
    files: { 'a/e': 'x', 'b/c': '2', 'b/d': '3' },
  },
  'a link in place of the folder above': { above: { srv: '-> usr' }, files: {} },
  'a folder again': { above: { 'srv/ROOT/': null }, files: { a: '1', 'b/c': '2', 'b/d': '3' } },
  'a hard link': {
    above: { 'srv/ROOT/a': 'x', 'srv/ROOT/e': '=> srv/ROOT/a' },
    files: { a: 'x', e: 'x', 'b/c': '2', 'b/d': '3' },
  },
}
for (const [what, { above, files }] of Object.entries(table)) {
  t.test(`of two layers the files are left that a container sees: ${what}`, async (t) => {
    const tree = createFileTree(['/srv/ROOT/'])
    for (const content of [base, above]) {
      const bytes = await layer(content)
      t.equal(await tree.addLayer(Readable.from([bytes]), signal), sha256(bytes))
    }
    const expected = Object.entries(files).map(([path, text]) => [`/srv/ROOT/${path}`, md5(text)])
    t.strictSame([...tree.below('/srv/ROOT')].sort(), expected.sort())
  })
}

t.test('a symbolic link is no file', async (t) => {
  const tree = createFileTree(['/srv/ROOT'])
  await tree.addLayer(Readable.from([await layer({ 'srv/ROOT/a': '-> b' })]), signal)
  t.strictSame([...tree.below('/srv/ROOT')], [['/srv/ROOT/a', 'link to b']])
})

/** An OCI layout with manifest.json, layers compressed or not, by way of links as of equal layers. */
async function archive(options: { layers: Buffer[]; blobs?: Buffer[]; diffIds?: string[] }) {
  const { layers, blobs = layers, diffIds = layers.map((bytes) => sha256(bytes)) } = options
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      container: 'x',
      config: { Cmd: ['run'] },
      rootfs: { type: 'layers', diff_ids: diffIds },
    }),
  )
  const path = (bytes: Buffer) => `blobs/sha256/${sha256(bytes).slice(7)}`
  const names = blobs.map((blob, index) => `${index}${path(blob)}`)
  const manifest = [{ Config: path(config), RepoTags: null, Layers: names }]
  const tar = pack()
  for (const blob of new Set([...blobs, config])) tar.entry({ name: path(blob) }, blob)
  for (const [index, name] of names.entries()) {
    tar.entry({ name, type: 'symlink', linkname: `../../${path(blobs[index] as Buffer)}` })
  }
  tar.entry({ name: 'manifest.json' }, JSON.stringify(manifest))
  tar.finalize()
  return Readable.from(await buffer(tar as unknown as Readable), { objectMode: false })
}

const read = async (folder: string, stream: Readable, known = 0) =>
  readSavedImage(stream, {
    cache: { folder, sealKey: Buffer.alloc(32) },
    known,
    roots: ['/srv/ROOT'],
    signal,
  })

t.test('an image that an engine wrote out', async (t) => {
  const folder = await temporaryFolder(t)
  const large = await layer({ 'srv/ROOT/large': 'x'.repeat(400_000) })
  const layers = [await layer(base), large, await layer(base)]
  const plain = await read(folder, await archive({ layers }), 1)
  t.equal(plain.layers[0], undefined, 'what the registry has is not packed again')
  t.match(plain.layers[1], { diffId: sha256(large) })
  t.match(plain.layers[2], { diffId: sha256(layers[0] as Buffer) }, 'the same content once more')
  t.equal(plain.tree.below('/srv/ROOT').size, 4)
  t.notOk('container' in plain.config)

  const packed = gzipSync(large)
  const blobs = [layers[0] as Buffer, packed, layers[0] as Buffer]
  const again = await read(await temporaryFolder(t), await archive({ layers, blobs }))
  t.match(again.layers[1], { digest: sha256(packed), size: packed.length }, 'kept as it came')

  const other = await archive({ layers, diffIds: ['a', 'b', 'c'].map((text) => sha256(text)) })
  await t.rejects(read(folder, other), { code: 'VERIFY_FAILED' })
  const cut = await buffer(await archive({ layers }))
  const half = Readable.from(cut.subarray(0, cut.length / 2), { objectMode: false })
  await t.rejects(read(folder, half), { code: 'UNAVAILABLE' })
})
