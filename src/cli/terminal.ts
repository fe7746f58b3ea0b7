import { StepError } from '../core/errors.ts'

/** The person at the terminal, where there is one. */
export interface Terminal {
  /** Yes or no; undefined where nobody can be asked. */
  confirm?: ((question: string) => Promise<boolean>) | undefined
  /** All of standard input. */
  readInput(): Promise<string>
}

/** Goes on only if the person at the terminal agrees; where nobody is, the command line is the word. */
export async function agree(terminal: Terminal, question: string, yes: boolean): Promise<void> {
  if (yes || terminal.confirm === undefined) return
  if (await terminal.confirm(question)) return
  throw new StepError('CANCELLED', 'nothing was changed', { hint: 'Use --yes to not be asked.' })
}
