import t from 'tap'
import { readIgnoreRules } from '../../src/builder/ignore.ts'

/** Text of a .dockerignore → paths that it leaves out, and paths that it lets through. */
const table: [text: string, ignored: string[], kept: string[]][] = [
  ['# a comment\n\n  \n#x\n', [], ['a', '#x']],
  ['a', ['a', 'a/b', 'a/b/c'], ['b/a', 'ab']],
  ['/a/', ['a', 'a/b'], ['b/a']],
  ['./a/../b', ['b'], ['a']],
  ['*.md', ['README.md'], ['docs/x.md']],
  ['*/*.md', ['docs/x.md'], ['README.md', 'a/b/x.md']],
  ['**/*.md', ['README.md', 'docs/x.md', 'a/b/x.md'], ['md']],
  ['a/**/z', ['a/z', 'a/b/z', 'a/b/c/z/d'], ['z', 'a/zz']],
  ['a/**', ['a/b', 'a/b/c'], ['b']],
  ['temp?', ['tempa', 'temp1/x'], ['temp', 'tempab']],
  ['[a-c].txt', ['b.txt'], ['d.txt', 'bb.txt']],
  ['*\n!keep', ['a', 'b/keep'], ['keep', 'keep/a']],
  [
    '*.md\n!README*.md\nREADME-secret.md',
    ['a.md', 'README-secret.md'],
    ['README.md', 'README-2.md'],
  ],
  ['a\n!a/b\na/b/c', ['a/x', 'a/b/c'], ['a/b/d']],
  ['A', ['A'], ['a']],
  ['a+(b)|{c}.txt', ['a+(b)|{c}.txt'], ['aa(b)', 'ab']],
  ['a\\*', ['a*'], ['ab']],
  ['\uFEFFa\r\nb\r\n', ['a', 'b'], ['c']],
]
for (const [text, ignored, kept] of table) {
  t.test(JSON.stringify(text), async (t) => {
    const rules = await readIgnoreRules(text, '.dockerignore')
    for (const path of ignored) t.equal(rules.ignores(path), true, `${path} is left out`)
    for (const path of kept) t.equal(rules.ignores(path), false, `${path} is sent`)
  })
}
