import { type FileHandle, open } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { explain } from '../../core/errors.ts'
import { replaceFile } from '../../core/files/atomic-file.ts'
import { addExample, type CommandResult, type Perform } from '../command.ts'
import { table } from '../output.ts'
import { requireFile } from './text.ts'

/** `crosscloud ledger …`: the database itself. */
export function addAdmin(program: Command, perform: Perform): void {
  const ledger = program.command('ledger').description('Set up, look at, and move the ledger.')
  addMigrate(ledger, perform)
  addStatus(ledger, perform)
  addExport(ledger, perform)
  addImport(ledger, perform)
}

function addMigrate(ledger: Command, perform: Perform): void {
  const command = ledger
    .command('migrate')
    .description('Bring the tables to the newest schema; others may use the ledger meanwhile.')
  addExample(command, 'ledger migrate')
  command.action(async () => {
    await perform(command, async (context) => {
      // Opening does it.
      const opened = await context.ledger()
      await opened.guard()
      const { schema } = await opened.facts()
      const text = `${opened.name} has the newest schema, ${schema}.`
      return { json: { ledger: opened.name, schema }, text }
    })
  })
}

function addStatus(ledger: Command, perform: Perform): void {
  const command = ledger
    .command('status')
    .description('Where the ledger is, what it holds, and what waits to be recorded.')
  addExample(command, 'ledger status')
  command.action(async () => {
    await perform(command, async (context): Promise<CommandResult> => {
      const opened = await context.ledger()
      const journal = await context.journal()
      const { schema, rows } = await opened.facts()
      const waiting = await journal.waiting(opened.name)
      const counts = Object.entries(rows).map(([name, count]) => [name, String(count)])
      const lines = [
        `Ledger   ${opened.name}`,
        `Schema   ${schema}`,
        `Journal  ${waiting === 0 ? 'nothing waits' : `${waiting} wait`} in ${journal.folder}`,
        '',
        table(['records', 'rows'], counts),
      ]
      const json = { ledger: opened.name, schema, rows, waiting, journal: journal.folder }
      return { json, text: lines.join('\n') }
    })
  })
}

/** Characters that the export writes at once. */
const BATCH = 64 * 1024

function addExport(ledger: Command, perform: Perform): void {
  const command = ledger
    .command('export')
    .description('Write all records as JSON lines, to be imported elsewhere.')
    .requiredOption('--out <file>', 'file to write; complete or not there')
  addExample(command, 'ledger export --out ledger.jsonl')
  command.action(async ({ out }: { out: string }) => {
    await perform(command, async (context) => {
      const opened = await context.ledger()
      const path = resolve(context.cwd, out)
      await requireFile(path, out)
      let lines = 0
      const write = async (file: FileHandle) => {
        let pending = ''
        await opened.exportRecords(async (line) => {
          lines++
          pending += line
          if (pending.length < BATCH) return
          await file.appendFile(pending)
          pending = ''
        })
        await file.appendFile(pending)
      }
      await replaceFile(path, write, { mode: 0o600 }).catch((error: unknown) => {
        throw explain(`writing ${out}`, error)
      })
      const records = lines - 2
      return { json: { out, records }, text: `Wrote ${records} records to ${out}.` }
    })
  })
}

function addImport(ledger: Command, perform: Perform): void {
  const command = ledger
    .command('import')
    .argument('<file>', 'what `ledger export` wrote')
    .description('Take the records of another ledger into an empty one: all or none.')
  addExample(command, 'ledger import ledger.jsonl')
  command.action(async (file: string) => {
    await perform(command, async (context) => {
      const path = resolve(context.cwd, file)
      const handle = await open(path).catch((error: unknown) => {
        throw explain(`reading ${file}`, error)
      })
      const opened = await context.ledger()
      const { rows } = await opened
        .importRecords(linesOf(handle))
        .finally(() => handle.close().catch(() => {}))
      return {
        json: { ledger: opened.name, records: rows },
        text: `Took ${rows} records into ${opened.name}.`,
      }
    })
  })
}

/** Lines that are read before somebody takes them are lost, and their end with them. */
async function* linesOf(file: FileHandle): AsyncGenerator<string> {
  yield* file.readLines()
}
