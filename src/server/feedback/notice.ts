/** Occasions for a notification. */
export const noticeKinds = ['started', 'succeeded', 'failed', 'drift'] as const
export type NoticeKind = (typeof noticeKinds)[number]

/** What a receiver gets. It is stored in Redis, and is the body of a webhook: names stay. */
export interface Notice {
  /** The same for each attempt. */
  id: string
  what: NoticeKind
  route: string
  /** What happened, or went wrong. */
  text: string
  url?: string | undefined
  facts: Readonly<Record<string, string>>
}
