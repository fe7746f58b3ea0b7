/** Records read at once. */
const PAGE = 200

/** One page of a history, newest first: the records before one of them. */
export interface Page {
  before: string | undefined
  limit: number
}

/** The records of a history one after the other, newest first; pages are read as they are needed. */
export async function* pageThrough<T extends { id: string }>(
  read: (page: Page) => Promise<readonly T[]>,
): AsyncGenerator<T, void, undefined> {
  for (let before: string | undefined; ; ) {
    const page = await read({ before, limit: PAGE })
    yield* page
    before = page.at(-1)?.id
    if (page.length < PAGE) return
  }
}
