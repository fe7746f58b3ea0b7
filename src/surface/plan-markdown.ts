import { shortDigest } from '../core/digest.ts'
import { withoutControls } from '../core/plain-text.ts'
import type { Plan, PlannedHost } from '../delivery/plan/schema.ts'
import {
  accessTexts,
  changeSigns,
  copyText,
  count,
  failureText,
  hostText,
  orderText,
  passage,
  proxyTexts,
  skippedTexts,
} from './plan-words.ts'

/** A merge request shows so many of a list. */
const MOST = 30
const LONGEST = 200

/**
 * A plan for a merge request or a job's summary (GitHub Flavored Markdown, which GitLab reads, too).
 * What others wrote stands in code: it mentions nobody, links nowhere and is no HTML.
 */
export function planMarkdown(plan: Plan): string {
  const { kind, environment, ready, problems, warnings, hash } = plan
  return [
    `### Plan: ${kind} ${code(passage(plan))} in ${code(environment)}${ready ? '' : ', not now'}`,
    ready
      ? 'Nothing stands in the way: it could start now.'
      : `It could not start now; ${count(problems.length, 'check does', 'checks do')} not pass:`,
    list(problems.flatMap(({ check, message, hint }) => problemItem(check, message, hint))),
    list(warnings.map((warning) => `Warning: ${prose(warning)}`)),
    skippedText(plan),
    hostsTable(plan),
    accessText(plan),
    orderText(plan) === undefined ? '' : `Order: ${code(orderText(plan) ?? '')}.`,
    proxyText(plan),
    `When a host fails: ${prose(failureText(plan))}.`,
    imageText(plan),
    commitsText(plan),
    configText(plan),
    `<sub>Facts: ${code(hash)}. A plan with another hash is of other facts.</sub>`,
    '',
  ]
    .filter((part, at, all) => part !== '' || at === all.length - 1)
    .join('\n\n')
}

function problemItem(check: string, message: string, hint: string | null): string[] {
  const [title = '', ...more] = message.split('\n')
  const rest = more.map((line) => `  - ${prose(line)}`)
  const way = hint === null ? [] : [`  - → ${prose(hint)}`]
  return [[`**${check}**: ${prose(title)}`, ...rest, ...way].join('\n')]
}

function hostsTable(plan: Plan): string {
  const row = (host: PlannedHost, at: number) =>
    `| ${at + 1} | ${cell(host.name)} | ${cell(host.address)} | ${cell(hostText(host, plan))} |`
  return [
    '| | host | address | what happens |',
    '| --- | --- | --- | --- |',
    ...plan.hosts.map(row),
  ].join('\n')
}

function proxyText(plan: Plan): string {
  const lines = proxyTexts(plan).map(code)
  return lines.length === 0 ? '' : `Proxy:\n\n${list(lines)}`
}

function skippedText(plan: Plan): string {
  const texts = skippedTexts(plan)
  return texts.length === 0 ? '' : `Skipped:\n\n${list(texts.map(code))}`
}

function accessText(plan: Plan): string {
  const texts = accessTexts(plan)
  if (texts.length === 0) return ''
  return ['What gives the container power over its host:', list(texts.map(prose))].join('\n\n')
}

function imageText({ image, digest }: Plan): string {
  if (image === null) return `Image ${code(digest)}, not read: see what stands in the way.`
  const copy = copyText(image)
  return `Image ${code(image.reference)}${copy ? `, ${code(copy)}` : ''}.`
}

function commitsText({ commits }: Plan): string {
  const { added, removed, why } = commits
  const lines = (list: typeof added) =>
    list.map(
      ({ id, author, subject }) => `${code(id.slice(0, 12))} ${code(`${author}: ${subject}`)}`,
    )
  return [
    why === null ? '' : `Commits: ${prose(why)}.`,
    details(count(added.length, 'commit comes', 'commits come'), lines(added)),
    details(count(removed.length, 'commit goes', 'commits go'), lines(removed)),
  ]
    .filter(Boolean)
    .join('\n\n')
}

function configText({ config: { before, after, known, keys, files } }: Plan): string {
  if (after === null) return 'The config cannot be rendered.'
  if (before === null) return `Config ${code(shortDigest(after))}, the first.`
  if (before === after) return `Config ${code(shortDigest(after))}, as now.`
  const lines = keys.map(({ key, change, before, after }) => {
    const values = [before, after].filter((value) => value !== null).map(code)
    return `${changeSigns[change]} ${code(key)} ${values.join(' → ')}`
  })
  const paths = files.map(({ path, change }) => `${changeSigns[change]} ${code(path)}`)
  return [
    `Config ${code(shortDigest(before))} → ${code(shortDigest(after))}${known ? '' : '; the ledger has not kept the keys'}.`,
    details(count(keys.length, 'key changes', 'keys change'), lines),
    details(count(files.length, 'file changes', 'files change'), paths),
  ]
    .filter(Boolean)
    .join('\n\n')
}

function details(title: string, lines: readonly string[]): string {
  if (lines.length === 0) return ''
  return `<details><summary>${title}</summary>\n\n${list(lines)}\n\n</details>`
}

function list(lines: readonly string[]): string {
  const rest = lines.length - MOST
  const shown = rest > 0 ? [...lines.slice(0, MOST), `and ${rest} more`] : lines
  return shown.map((line) => `- ${line}`).join('\n')
}

/** A code span; a backtick cannot end it, nor a line break its list. */
function code(text: string): string {
  const line = withoutControls(text.replace(/\s+/g, ' ')).replaceAll('`', "'").trim()
  const shown = line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line
  return `\`${shown || ' '}\``
}

/** In a table a bar ends a cell, in code, too. */
const cell = (text: string) => code(text).replaceAll('|', '\\|')

/** Words that mean nothing in Markdown; a release's name is no mention. */
const PLAIN = /^(?:[A-Za-z0-9.,:;()'"→…=+-]|(?<=[A-Za-z0-9])@(?=\d))*$/

/** A sentence of ours, with what others wrote in it: our code spans stay, every odd word becomes one. */
function prose(text: string): string {
  const parts = text.split('`')
  if (parts.length % 2 === 0) return code(text)
  const words = (part: string) =>
    part.replace(/\S+/g, (word) => (PLAIN.test(word) ? word : code(word)))
  return parts.map((part, at) => (at % 2 === 0 ? words(part) : code(part))).join('')
}
