import { resolve } from 'node:path'
import type { Command } from 'commander'
import { explain, StepError } from '../../core/errors.ts'
import { replaceFile } from '../../core/files/atomic-file.ts'
import { auditFields } from '../../ledger/audit-chain.ts'
import type { AuditRecord, AuditVerdict } from '../../ledger/ledger.ts'
import { addExample, type CommandResult, type Perform } from '../command.ts'
import { table } from '../output.ts'
import type { ProcessEnvironment } from '../process-environment.ts'
import { addLedgerOption, type LedgerOption, withLedger } from '../server/settings.ts'
import { minute, readCount, readSince, requireFile } from './text.ts'

interface Filters extends LedgerOption {
  app?: string
  env?: string
  by?: string
  verb?: string
  refused?: boolean
  since?: string
}

/** `crosscloud audit …`: who did what, and was refused what, on the server and with its tokens. */
export function addAudit(
  program: Command,
  perform: Perform,
  environment: ProcessEnvironment,
): void {
  const audit = program
    .command('audit')
    .description(
      'Look at the audit log: every act and every refusal, in a chain that shows changes.',
    )
  addList(audit, perform, environment)
  addVerify(audit, perform, environment)
  addExport(audit, perform, environment)
}

function addFilters(command: Command): Command {
  return addLedgerOption(command)
    .option('--app <name>', 'only this application')
    .option('--env <name>', 'only this environment')
    .option('--by <name>', 'only what this person, or token:NAME, did')
    .option('--verb <verb>', 'only this verb: deploy, promote, tokens')
    .option('--refused', 'only what was refused')
    .option('--since <time>', 'only what was recorded since then: 7d, 24h, 2026-11-01')
}

function readFilters({ app, env, by, verb, refused, since }: Filters) {
  return {
    app,
    environment: env,
    by,
    verb,
    decision: refused ? ('refused' as const) : undefined,
    since: since === undefined ? undefined : readSince(since, new Date()),
  }
}

function addList(audit: Command, perform: Perform, environment: ProcessEnvironment): void {
  const command = addFilters(
    audit.command('list').description('The records of the audit log, newest first.'),
  )
    .option('--before <number>', 'only what came before this record: the next page')
    .option('--limit <number>', 'how many records at the most', '20')
  addExample(command, 'audit list --env production --refused --since 7d')
  command.action(async (options: Filters & { before?: string; limit: string }) => {
    const limit = readCount(options.limit, '--limit')
    const before = options.before === undefined ? undefined : readNumber(options.before, '--before')
    const filters = readFilters(options)
    await perform(command, async (context) => {
      // Another record than is shown means that there is another page.
      const query = { ...filters, before, limit: limit + 1 }
      const found = await withLedger(options, context, environment, (ledger) =>
        ledger.audits(query),
      )
      const records = found.slice(0, limit)
      const next = found.length > limit ? records.at(-1)?.number : undefined
      return {
        json: { records: records.map(auditFields), next: next ?? null },
        text: listText(records, next),
      }
    })
  })
}

function listText(records: readonly AuditRecord[], next: number | undefined): string {
  if (records.length === 0) return 'No such record is in the audit log.'
  const rows = records.map(({ object, ...record }) => [
    ...[String(record.number), minute(record.at), record.subject, record.via, record.verb],
    [object.app, object.environment].filter(Boolean).join(' '),
    ...[record.decision, object.text ?? '', record.reason ?? record.rule ?? ''],
  ])
  const heads = ['number', 'when (UTC)', 'by', 'via', 'verb', 'where', 'decision', 'what', 'why']
  const shown = table(heads, rows)
  return next === undefined ? shown : `${shown}\n\nMore: --before ${next}`
}

function addVerify(audit: Command, perform: Perform, environment: ProcessEnvironment): void {
  const command = addLedgerOption(
    audit
      .command('verify')
      .description('Check that no record of the audit log was changed, removed, put in or moved.'),
  ).option(
    '--head <hash>',
    'a hash that was kept elsewhere, as of a notification: it must be there',
  )
  addExample(command, 'audit verify --head 9f2c…')
  command.action(async (options: LedgerOption & { head?: string }) => {
    await perform(command, async (context): Promise<CommandResult> => {
      const { head } = options
      const verdict = await withLedger(options, context, environment, (ledger) =>
        ledger.verifyAudit({ head }),
      )
      const json = { ...verdict }
      if (!verdict.intact) return { json, text: '', failure: failureOf(verdict), printed: true }
      const { count } = verdict
      const kept = head === undefined ? '' : ' The head that was given is among them.'
      const text = `${count} records in the audit log, as they were written.${kept}\nHead: ${verdict.head}`
      return { json, text }
    })
  })
}

function failureOf(verdict: Extract<AuditVerdict, { intact: false }>): StepError {
  const message =
    verdict.problem === 'head'
      ? `the head that was given is not in the audit log: its end was cut off, or it was written anew (${verdict.count} records now)`
      : `the audit log is not as it was written: record ${verdict.number} was ${verdict.problem}`
  return new StepError('VERIFY_FAILED', message, {
    hint: 'Compare it with an export or a backup from before: `crosscloud audit export --out now.jsonl`.',
  })
}

/** Records that are read at once. */
const PAGE = 1000

function addExport(audit: Command, perform: Perform, environment: ProcessEnvironment): void {
  const command = addFilters(
    audit
      .command('export')
      .description('Write records of the audit log as JSON lines, oldest first.')
      .requiredOption('--out <file>', 'file to write; complete or not there'),
  ).option('--after <number>', 'only records after this: what the last export ended with', '0')
  addExample(command, 'audit export --out audit.jsonl')
  command.action(async (options: Filters & { out: string; after: string }) => {
    const first = readNumber(options.after, '--after')
    const filters = readFilters(options)
    await perform(command, async (context) => {
      const { out } = options
      const path = resolve(context.cwd, out)
      await requireFile(path, out)
      const { count, last } = await withLedger(options, context, environment, (ledger) => {
        const read = (after: number) => ledger.audits({ ...filters, after, limit: PAGE })
        return writeLines(pages(read, first), { path, out, first })
      })
      return { json: { out, records: count, last }, text: `Wrote ${count} records to ${out}.` }
    })
  })
}

async function writeLines(
  all: AsyncIterable<AuditRecord[]>,
  { path, out, first }: { path: string; out: string; first: number },
): Promise<{ count: number; last: number }> {
  let count = 0
  let last = first
  const write = async (file: { appendFile(text: string): Promise<void> }) => {
    for await (const records of all) {
      count += records.length
      last = records.at(-1)?.number ?? last
      await file.appendFile(records.map(lineOf).join(''))
    }
  }
  await replaceFile(path, write, { mode: 0o600 }).catch((error: unknown) => {
    throw explain(`writing ${out}`, error)
  })
  return { count, last }
}

async function* pages(
  read: (after: number) => Promise<AuditRecord[]>,
  first: number,
): AsyncGenerator<AuditRecord[]> {
  for (let after = first; ; ) {
    const records = await read(after)
    yield records
    after = records.at(-1)?.number ?? after
    if (records.length < PAGE) return
  }
}

const lineOf = (record: AuditRecord) => `${JSON.stringify(auditFields(record))}\n`

function readNumber(text: string, flag: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new StepError('INPUT_INVALID', `${flag} "${text}" is no number of a record`)
}
