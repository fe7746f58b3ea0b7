import t from 'tap'
import { type Page, pageThrough } from '../../src/ledger/history.ts'

/** A history of so many records, and the pages that were read of it. */
function historyOf(count: number) {
  const records = Array.from({ length: count }, (_, index) => ({ id: `d${count - index}` }))
  const pages: Page[] = []
  const read = async (page: Page) => {
    pages.push(page)
    const from =
      page.before === undefined ? 0 : records.findIndex(({ id }) => id === page.before) + 1
    return records.slice(from, from + page.limit)
  }
  return { records, pages, read }
}

t.test('every record of a history comes once, newest first, whatever its length', async (t) => {
  for (const count of [0, 1, 199, 200, 201, 400, 1001]) {
    const { records, read } = historyOf(count)
    const found: { id: string }[] = []
    for await (const record of pageThrough(read)) found.push(record)
    t.strictSame(found, records, `${count} records`)
  }
})

t.test('a reader that stops early reads no further page', async (t) => {
  const { pages, read } = historyOf(1000)
  for await (const { id } of pageThrough(read)) if (id === 'd999') break
  t.strictSame(pages, [{ before: undefined, limit: 200 }])
})
