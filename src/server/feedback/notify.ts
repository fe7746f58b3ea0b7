import { z } from 'zod'
import type { HttpClient } from '../../core/http/client.ts'
import { webhookSecret } from '../../core/settings/schema.ts'
import { compileText, templateText } from '../effects/templates.ts'
import { receivers } from './receivers.ts'

/** When somebody is told. */
export const noticeOccasions = ['started', 'succeeded', 'failed', 'drift'] as const
export type NoticeOccasion = (typeof noticeOccasions)[number]

export interface Notice {
  /** The same each time it is tried. */
  id: string
  what: NoticeOccasion
  route: string
  /** What happened, or went wrong. */
  text: string
  url?: string | undefined
  facts: Readonly<Record<string, string>>
}

const kinds = Object.keys(receivers) as (keyof typeof receivers)[]

/** fetch takes no such address. */
export const hasLogin = (url: string): boolean => /^\w+:\/\/[^/?#]*@/.test(url)

/** One receiver under `notify:`. */
export const noticeSettings = z
  .strictObject({
    kind: z.enum(kinds).describe('slack serves Mattermost and Rocket.Chat, too'),
    url: z
      .url({ protocol: /^https?$/ })
      .refine((url) => !hasLogin(url), 'has a login before the host; put the secret elsewhere')
      .describe('Its address; it holds a secret: ${NAME}'),
    secret: webhookSecret
      .optional()
      .describe('What a webhook is signed with, or whsec_…; of a DingTalk robot its SEC…'),
    template: templateText
      .default(
        '{{route}} {{what}}{{#if project}}: {{project}}{{/if}}{{#if ref}} {{ref}}{{/if}}{{#if by}} by {{by}}{{/if}}\n{{text}}',
      )
      .describe('The message: facts of the event, {{what}}, {{route}} and {{text}}'),
    on: z
      .array(z.enum(noticeOccasions))
      .min(1)
      .default(['failed'])
      .describe('When: drift is of a schedule'),
  })
  .refine(({ kind, secret }) => kind !== 'webhook' || secret !== undefined, {
    path: ['secret'],
    message: 'is required for a webhook: who gets it must be able to tell that it is from here',
  })

export interface Notifier {
  wants(what: NoticeOccasion): boolean
  /**
   * UNAVAILABLE, retryable, when the receiver is away or wants less; else it refuses for good. What
   * went past a gate comes first, whatever the template is.
   */
  send(notice: Notice, signal: AbortSignal, unsigned?: readonly string[]): Promise<void>
}

export function createNotifier(
  name: string,
  settings: z.output<typeof noticeSettings>,
  http: HttpClient,
): Notifier {
  const { kind, url, secret, on, template } = settings
  const render = compileText(template)
  const deliver = receivers[kind]
  return {
    wants: (what) => on.includes(what),
    async send(notice, signal, unsigned = []) {
      const { what, route, text } = notice
      const message = [...unsigned, render({ ...notice.facts, what, route, text })].join('\n')
      await deliver({ http, name, url, secret, message, notice, signal })
    },
  }
}
