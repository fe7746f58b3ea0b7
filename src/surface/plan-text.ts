import { shortDigest } from '../core/digest.ts'
import type { Plan } from '../delivery/plan/schema.ts'
import {
  accessTexts,
  changeSigns,
  copyText,
  count,
  failureText,
  hostText,
  orderText,
  passage,
  planFailure,
  proxyTexts,
  skippedTexts,
} from './plan-words.ts'

/** A terminal shows so many of a list; `--json` has them all. */
const MOST = 12
const LONGEST_VALUE = 60

/** A plan for people at a terminal, a line each. */
export function planLines(plan: Plan): string[] {
  return [
    ...titleLines(plan),
    ...commitLines(plan),
    ...configLines(plan),
    ...hostLines(plan),
    ...obstacleLines(plan),
    plan.ready ? 'Ready    it could start now' : `Not now  ${planFailure(plan)?.message}`,
    `Hash     ${plan.hash}`,
  ]
}

function titleLines(plan: Plan): string[] {
  const { kind, environment, from, image } = plan
  const copy = image && copyText(image)
  return [
    `Plan     ${kind} ${passage(plan)} in ${environment}`,
    ...(from ? [`         ${from.name} runs there since ${from.since}`] : []),
    ...under('Skipped', skippedTexts(plan)),
    `Image    ${image?.reference ?? `${plan.digest}, not read: see what stands in the way`}`,
    ...(copy ? [`         ${copy}`] : []),
  ]
}

function commitLines({ commits }: Plan): string[] {
  const { added, removed, why } = commits
  const lines = (sign: string, list: typeof added) =>
    some(list.map(({ id, author, subject }) => `${sign} ${id.slice(0, 12)} ${author}: ${subject}`))
  const none = added.length + removed.length === 0 && commits.known
  return [
    ...under('Commits', why === null ? [] : [`not all known: ${why}`]),
    ...under('Commits', none ? ['the same'] : []),
    ...under('Commits', lines('+', added)),
    ...under('Leaves', lines('-', removed)),
  ]
}

function configLines({ config }: Plan): string[] {
  const { before, after, known, keys, files } = config
  if (after === null) return under('Config', ['cannot be rendered: see below'])
  if (before === null) return under('Config', [`${shortDigest(after)}, the first`])
  if (!known)
    return under('Config', [
      `${shortDigest(before)} → ${shortDigest(after)}; the ledger has not kept the keys`,
    ])
  const lines = keys.map(({ key, change, before, after }) => {
    const values = [before, after].filter((value) => value !== null).map(shortened)
    return `${changeSigns[change]} ${key}  ${values.join(' → ')}`
  })
  const paths = files.map(({ path, change }) => `${changeSigns[change]} ${path}`)
  const now = shortDigest(after)
  const title = before === after ? `${now}, as now` : `${shortDigest(before)} → ${now}`
  return under('Config', [title, ...some(lines), ...some(paths)])
}

function hostLines(plan: Plan): string[] {
  const lines = plan.hosts.map((host, at) => `${at + 1}. ${host.name}  ${hostText(host, plan)}`)
  const order = orderText(plan)
  return [
    ...under('Hosts', lines),
    ...under('Access', accessTexts(plan)),
    ...under('Order', order ? [order] : []),
    ...under('Proxy', proxyTexts(plan)),
    ...under('Failure', [failureText(plan)]),
  ]
}

function obstacleLines({ lock, problems, warnings }: Plan): string[] {
  const since = lock?.since ? ` since ${lock.since}` : ''
  return [
    ...under('Lock', lock ? [`held by ${lock.owner} (${lock.reason})${since}`] : []),
    ...under('Warning', warnings),
    ...problems.flatMap(({ check, message, hint }) =>
      under('Blocked', [`${check}: ${message}`, ...(hint === null ? [] : [`→ ${hint}`])]),
    ),
  ]
}

/** Lines beside a word; what has several lines goes on below. */
function under(word: string, texts: readonly string[]): string[] {
  const lines = texts.flatMap((text) => text.split('\n'))
  return lines.map((line, at) => `${(at === 0 ? word : '').padEnd(8)} ${line}`)
}

function some(lines: readonly string[]): string[] {
  const rest = lines.length - MOST
  return rest > 0 ? [...lines.slice(0, MOST), `… and ${count(rest, 'more', 'more')}`] : [...lines]
}

function shortened(value: string): string {
  return value.length > LONGEST_VALUE ? `${value.slice(0, LONGEST_VALUE)}…` : value
}
