import t from 'tap'
import { diffFiles, type FilePair } from '../../../src/config/rules/file-diff.ts'

const pair = (
  before: string | undefined,
  after: string,
  more: Partial<FilePair> = {},
): FilePair => ({
  path: '/etc/a',
  before: before === undefined ? undefined : Buffer.from(before),
  after: Buffer.from(after),
  masked: after,
  holdsSecrets: false,
  ...more,
})
const lines = async (one: FilePair) => (await diffFiles([one]))[0]?.lines ?? []

t.test('files that differ are shown as unified diffs', async (t) => {
  t.same(await lines(pair('a\nb\n', 'a\nb\n')), [])
  t.same(await lines(pair('a\nb\nc\n', 'a\nB\nc\n')), [
    '--- a/etc/a',
    '+++ b/etc/a',
    '@@ -1,3 +1,3 @@',
    ' a',
    '-b',
    '+B',
    ' c',
  ])
  t.same((await lines(pair(undefined, 'new\n'))).slice(0, 2), ['--- /dev/null', '+++ b/etc/a'])
  t.match((await lines(pair('a', 'a\n'))).join('\n'), /No newline/)
  const both = await diffFiles([pair('a', 'a'), pair('a', 'b', { path: '/etc/b' })])
  t.same(
    both.map(({ path }) => path),
    ['/etc/b'],
  )
})

t.test('a diff contains no secret', async (t) => {
  const before = 'url=old\npw=sentinel-1\nend\n'
  const after = 'url=new\npw=sentinel-2\nend\n'
  const masked = 'url=new\npw=(secret)\nend\n'
  const shown = await lines(pair(before, after, { masked, holdsSecrets: true }))
  t.notMatch(shown.join('\n'), 'sentinel')
  t.ok(shown.includes('+url=new') && shown.includes('+pw=(secret)') && shown.includes(' end'))
  t.equal(shown.filter((line) => line.startsWith('-(not shown')).length, 2)

  const changed = await lines(
    pair('a\n', 'a\nlen=sentinel\n', { masked: undefined, holdsSecrets: true }),
  )
  t.notMatch(changed.join('\n'), 'sentinel', 'a template that works on the secret')
  const longer = await lines(
    pair('a\n', 'x\nsentinel\n', { masked: 'x\ny\nz\n', holdsSecrets: true }),
  )
  t.notMatch(longer.join('\n'), 'sentinel', 'lines that do not match up')
  const gone = await lines(pair('dbPassword: sentinel\nport: 1\n', 'port: 2\n'))
  t.notMatch(gone.join('\n'), 'sentinel', 'a secret of before, that the templates no longer know')
  t.ok(gone.includes('-port: 1'))
})
