import { z } from 'zod'
import { webhookSecret } from '../../core/settings/schema.ts'
import { templateText } from '../effects/templates.ts'
import { hasLogin } from '../settings/url.ts'
import { noticeKinds } from './notice.ts'
import { receivers } from './receivers.ts'

const kinds = Object.keys(receivers) as (keyof typeof receivers)[]

/** One receiver under `notify:`. */
export const receiverSettings = z
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
      .array(z.enum(noticeKinds))
      .min(1)
      .default(['failed'])
      .describe('When: drift is of a schedule'),
  })
  .refine(({ kind, secret }) => kind !== 'webhook' || secret !== undefined, {
    path: ['secret'],
    message: 'is required for a webhook: who gets it must be able to tell that it is from here',
  })

export type ReceiverSettings = z.output<typeof receiverSettings>
