import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { explain } from '../../core/errors.ts'
import { definitions, type Measures, measure } from '../../ledger/measures.ts'
import { addExample, type CommandResult, type Perform } from '../command.ts'
import { table } from '../output.ts'
import { type Report, reportPage } from './report-page.ts'
import { minute, percent, perWeek, readSince, span } from './text.ts'

interface ReportOptions {
  app?: string
  env?: string
  since: string
  csv?: string
  html?: string
}

export function addReport(program: Command, perform: Perform): void {
  const command = program
    .command('report')
    .description('How well is delivered: frequency, lead time, failures, time to restore.')
    .option('--since <time>', 'from when on: 90d, 2026-09-01', '90d')
    .option('--app <name>', 'only this application')
    .option('--env <name>', 'only this environment')
    .option('--csv <file>', 'write it as CSV as well')
    .option('--html <file>', 'write it as a page with charts as well')
  addExample(command, 'report --since 90d --html report.html')
  command.action(async ({ app, env: environment, since: from, csv, html }: ReportOptions) => {
    await perform(command, async (context) => {
      const now = new Date()
      const since = readSince(from, now)
      const ledger = await context.ledger()
      const deliveries = await ledger.deliveries({ since, app, environment })
      const measures = measure(deliveries, since, now)
      const report = { since, until: now.toISOString(), measures, deliveries }
      if (csv !== undefined) await write(resolve(context.cwd, csv), toCsv(measures))
      if (html !== undefined) await write(resolve(context.cwd, html), reportPage(report))
      const written = [csv, html].filter((file) => file !== undefined)
      return describeReport(report, written)
    })
  })
}

async function write(path: string, text: string): Promise<void> {
  await writeFile(path, text).catch((error: unknown) => {
    throw explain(`writing ${path}`, error)
  })
}

function describeReport(
  { since, until, measures, deliveries }: Report,
  written: string[],
): CommandResult {
  const json = { since, until, deployments: deliveries.length, definitions, measures }
  const files = written.map((file) => `Wrote ${file}`)
  if (measures.length === 0) {
    return { json, text: ['Nothing was deployed in that time.', ...files].join('\n') }
  }
  const rows = measures.map((measured) => [
    ...[
      measured.app,
      measured.environment,
      `${measured.deployments}`,
      perWeek(measured.frequency),
      span(measured.leadTime),
    ],
    ...[percent(measured.failureRate), span(measured.restoreTime), `${measured.rollbacks}`],
  ])
  const lines = [
    `From ${minute(since)} to ${minute(until)} UTC`,
    '',
    table(
      [
        'application',
        'environment',
        'deployments',
        'a week',
        'lead time',
        'failed',
        'restored in',
        'rollbacks',
      ],
      rows,
    ),
    '',
    ...Object.entries(definitions).map(([name, text]) => `${name}: ${text}`),
    ...files,
  ]
  return { json, text: lines.join('\n') }
}

/** RFC 4180; a text that a spreadsheet would take for a formula is written as text. */
function toCsv(measures: readonly Measures[]): string {
  const head = [
    ...['application', 'environment', 'deployments', 'deployments_per_day', 'lead_time_seconds'],
    ...['change_failure_rate', 'failures', 'time_to_restore_seconds', 'rollbacks'],
  ]
  const seconds = (time: number | undefined) => (time === undefined ? '' : Math.round(time / 1000))
  const rows = measures.map((measured) => [
    ...[
      measured.app,
      measured.environment,
      measured.deployments,
      measured.frequency.toFixed(4),
      seconds(measured.leadTime),
    ],
    ...[
      measured.failureRate?.toFixed(4) ?? '',
      measured.failures,
      seconds(measured.restoreTime),
      measured.rollbacks,
    ],
  ])
  return [head, ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('')
}

function cell(value: string | number): string {
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : `${value}`
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
