const PAGE = 200

/** Rows of the ledger, newest first, read page by page as they are used. */
export async function* readHistory<Row extends { id: string }>(
  read: (page: { before: string | undefined; limit: number }) => Promise<Row[]>,
): AsyncGenerator<Row> {
  for (let before: string | undefined; ; ) {
    const page = await read({ before, limit: PAGE })
    yield* page
    before = page.at(-1)?.id
    if (page.length < PAGE || before === undefined) return
  }
}
