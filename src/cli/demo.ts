import type { Command } from 'commander'
import { addExample, type Perform } from './command.ts'

/** `crosscloud demo` */
export function addDemo(program: Command, perform: Perform): void {
  const command = program
    .command('demo')
    .description('Run the whole road on this machine, with a real application, and prove it.')
    .option('--folder <folder>', 'where to work; kept for the next run', '.crosscloud/demo')
  addExample(command, 'demo --json')
  command.action(async ({ folder }: { folder: string }) => {
    await perform(command, async (context) => {
      const { runDemo } = await import('../demo/demo.ts')
      return runDemo(folder, context)
    })
  })
}
