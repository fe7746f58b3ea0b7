import t from 'tap'
import { indentedLines, listSome } from '../../src/core/lists.ts'

t.test('long lists are cut, and the rest is counted', async (t) => {
  t.equal(listSome(['a', 'b', 'c']), 'a, b, c')
  t.equal(listSome(['a', 'b', 'c', 'd', 'e']), 'a, b, c and 2 more')
  t.equal(indentedLines(['a', 'b'], 2), '  a\n  b')
  t.equal(indentedLines(['a', 'b', 'c', 'd'], 2), '  a\n  b\n  … and 2 more')
})
