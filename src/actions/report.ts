import type { StepError } from '../core/errors.ts'
import { withoutControls } from '../core/plain-text.ts'
import { kebab } from '../steps/inputs.ts'
import type { Step } from '../steps/step.ts'

/** What is worth reading beside a run's name; the log has the rest. */
const ANNOTATION_LINES = 20
const ANNOTATION_LENGTH = 4000

/** A failure as one annotation: the fact, without what another program printed into the log. */
export function annotation(
  { message, summary, hint = '' }: StepError,
  mask: (text: string) => string,
): string {
  // Before it is cut: of half a secret nobody knows that it is one.
  const clean = (text: string) => mask(withoutControls(text))
  const lines = clean(summary ?? message)
    .split('\n')
    .filter((line) => line.trim())
  const more = lines.length - ANNOTATION_LINES
  const shown = lines.slice(0, ANNOTATION_LINES).join('\n')
  const fact = more > 0 ? `${shown}\nand ${more} more lines in the log` : shown
  return [shorten(fact, ANNOTATION_LENGTH), clean(hint)].filter(Boolean).join('\n')
}

/** A step's summary is thrown away, and the step fails, at 1 MiB. */
const CELL_LENGTH = 2000

/** The outputs as the rows of a table, in HTML. */
export function summaryRows(
  outputs: Record<string, unknown>,
  mask: (text: string) => string,
): [string, string][] {
  return Object.entries(outputs)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      const text = mask(typeof value === 'string' ? value : JSON.stringify(value))
      return [kebab(name), escapeHtml(shorten(text, CELL_LENGTH))]
    })
}

export async function writeSummary(
  { summary }: typeof import('@actions/core'),
  step: Step,
  outputs: Record<string, unknown>,
  mask: (text: string) => string,
): Promise<void> {
  const rows = summaryRows(outputs, mask)
  await summary.addHeading(`${step.name}: ${step.summary}`, 3).addTable(rows).write()
}

function shorten(text: string, length: number): string {
  if (text.length <= length) return text
  return `${text.slice(0, length)}… (${text.length - length} characters more)`
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
