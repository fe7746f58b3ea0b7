import t from 'tap'
import { compilePathMatch } from '../../../src/config/template/language/path-match.ts'
import { isStepError } from '../../../src/core/errors.ts'

t.test('patterns match as path.Match does in Go’s own tests', async (t) => {
  const rows: [string, string, boolean | 'bad'][] = [
    ['abc', 'abc', true],
    ['*', 'abc', true],
    ['*c', 'abc', true],
    ['a*', 'a', true],
    ['a*', 'abc', true],
    ['a*', 'ab/c', false],
    ['a*/b', 'abc/b', true],
    ['a*/b', 'a/c/b', false],
    ['a*b*c*d*e*/f', 'axbxcxdxe/f', true],
    ['a*b*c*d*e*/f', 'axbxcxdxexxx/f', true],
    ['a*b*c*d*e*/f', 'axbxcxdxe/xxx/f', false],
    ['a*b*c*d*e*/f', 'axbxcxdxexxx/fff', false],
    ['a*b?c*x', 'abxbbxdbxebxczzx', true],
    ['a*b?c*x', 'abxbbxdbxebxczzy', false],
    ['ab[c]', 'abc', true],
    ['ab[b-d]', 'abc', true],
    ['ab[e-g]', 'abc', false],
    ['ab[^c]', 'abc', false],
    ['ab[^b-d]', 'abc', false],
    ['ab[^e-g]', 'abc', true],
    ['a\\*b', 'a*b', true],
    ['a\\*b', 'ab', false],
    ['a?b', 'a☺b', true],
    ['a[^a]b', 'a☺b', true],
    ['a???b', 'a☺b', false],
    ['a[^a][^a][^a]b', 'a☺b', false],
    ['[a-ζ]*', 'α', true],
    ['*[a-ζ]', 'A', false],
    ['a?b', 'a/b', false],
    ['a*b', 'a/b', false],
    ['[\\]a]', ']', true],
    ['[\\-]', '-', true],
    ['[x\\-]', 'x', true],
    ['[x\\-]', '-', true],
    ['[x\\-]', 'z', false],
    ['[\\-x]', 'x', true],
    ['[\\-x]', '-', true],
    ['[\\-x]', 'a', false],
    ['[]a]', ']', 'bad'],
    ['[-]', '-', 'bad'],
    ['[x-]', 'x', 'bad'],
    ['[x-]', '-', 'bad'],
    ['[x-]', 'z', 'bad'],
    ['[-x]', 'x', 'bad'],
    ['[-x]', '-', 'bad'],
    ['\\', 'a', 'bad'],
    ['[a-b-c]', 'a', 'bad'],
    ['[', 'a', 'bad'],
    ['[^', 'a', 'bad'],
    ['[^bc', 'a', 'bad'],
    ['a[', 'a', 'bad'],
    ['a[', 'ab', 'bad'],
    ['a[', 'x', 'bad'],
    ['a/b[', 'x', 'bad'],
    ['*x', 'xxx', true],
    ['', '', true],
    ['', 'a', false],
    ['**', 'ab', true],
    ['*', '', true],
    ['*', '/', false],
    ['/a/*/c', '/a/b/c', true],
    ['?', '😀', true],
    ['/*', '/a', true],
    ['[a/]', '/', true],
    [']', ']', true],
    ['a*a', 'a', false],
    ['*a*', 'bab', true],
    ['*ab', 'aab', true],
    ['*/x*y', 'q/xxyy', true],
  ]
  for (const [pattern, name, wanted] of rows) {
    const got = (() => {
      try {
        return compilePathMatch(pattern)(name)
      } catch (error) {
        return isStepError(error, 'INPUT_INVALID') ? 'bad' : error
      }
    })()
    t.equal(got, wanted, `${pattern} on ${name}`)
  }
  const start = Date.now()
  t.notOk(compilePathMatch(`${'*a'.repeat(30)}b`)('a'.repeat(2000)))
  t.ok(Date.now() - start < 1000, 'no explosion')
})
