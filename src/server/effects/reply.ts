import { z } from 'zod'
import { shortDigest } from '../../core/digest.ts'
import { StepError } from '../../core/errors.ts'
import type { StatusCell } from '../../ledger/ledger.ts'
import { withApplication } from './application.ts'
import type { Attempt, Effect } from './effect.ts'
import { commandVariables, type WorkerEnvironment } from './worker-environment.ts'

/** `reply:` of a route: a comment gets the table of releases. */
export const replySettings = z.strictObject({
  folder: z.string().min(1).describe('Folder with crosscloud.yml'),
  variables: commandVariables,
})

/** Writes a comment on a merge request, once for each marker. */
export type Commenter = (
  to: { project: string; number: number; marker: string; text: string },
  signal: AbortSignal,
) => Promise<void>

export function createReplyEffect(
  settings: z.output<typeof replySettings>,
  worker: WorkerEnvironment,
  comment: Commenter,
): Effect {
  return async ({ id, facts, signal }: Attempt) => {
    const { project, request } = facts
    if (!request) throw new StepError('INPUT_INVALID', 'the event is about no merge request')
    return withApplication(settings, worker, signal, async ({ app, ledger }) => {
      const cells = await (await ledger()).status({ app, environment: undefined })
      const text = releaseTable(app, cells)
      await comment({ project, number: request.number, marker: id, text }, signal)
      return { text: `answered on ${project} ${request.number}`, state: 'succeeded' }
    })
  }
}

/** Which release runs where, as Markdown. */
export function releaseTable(app: string, cells: readonly StatusCell[]): string {
  if (cells.length === 0) return `Nothing of ${app} was deployed yet.`
  const rows = cells.map(({ environment, current, lock, bad, unsigned }) => {
    const notes = [
      ...unsigned.map(
        ({ deployment, by }) => `BREAK-GLASS: ${deployment} by ${by}, not signed off`,
      ),
      ...(bad ? ['bad'] : []),
      ...(lock ? [`locked: ${lock.reason}`] : []),
    ]
    const shown = [
      ...[environment, current?.version ?? '–', current?.since.slice(0, 16).replace('T', ' ')],
      ...[current?.by, current && shortDigest(current.digest), notes.join(', ')],
    ]
    return `| ${shown.map((text) => cellText(text ?? '')).join(' | ')} |`
  })
  const head = '| environment | version | since (UTC) | by | image | |\n|---|---|---|---|---|---|'
  return `**${app}**\n\n${head}\n${rows.join('\n')}`
}

/** Texts from outside must not make links or mention anybody. */
const cellText = (text: string) =>
  text.replace(/[|\\`*_[\]<>@!#~&\n]/g, (found) => {
    return found === '\n' ? ' ' : `&#${found.charCodeAt(0)};`
  })
