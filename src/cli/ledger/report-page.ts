import type { Delivery } from '../../ledger/ledger.ts'
import { definitions, type Measures } from '../../ledger/measures.ts'
import { minute, percent, perWeek, span } from './text.ts'

/** What a report is made from. */
export interface Report {
  since: string
  until: string
  measures: Measures[]
  deliveries: Delivery[]
}

const DAY = 24 * 3_600_000

/** A page that needs nothing else: no script, no font, no address but its own. */
export function reportPage({ since, until, measures, deliveries }: Report): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Delivery from ${minute(since)} to ${minute(until)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Delivery</h1>
<p>From ${minute(since)} to ${minute(until)} UTC: ${plural(deliveries.length, 'deployment')} of
${plural(new Set(measures.map(({ app }) => app)).size, 'application')}.</p>
${measures.length === 0 ? '<p>Nothing was deployed in that time.</p>' : ''}
${environmentsOf(measures)
  .map((environment) => section(environment, measures, deliveries, since, until))
  .join('\n')}
<h2>What is measured</h2>
<dl>
${Object.entries(definitions)
  .map(([name, text]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(text)}</dd>`)
  .join('\n')}
</dl>
</body>
</html>
`
}

const environmentsOf = (measures: readonly Measures[]) =>
  [...new Set(measures.map(({ environment }) => environment))].sort()

function section(
  environment: string,
  measures: readonly Measures[],
  deliveries: readonly Delivery[],
  since: string,
  until: string,
): string {
  const ours = measures.filter((group) => group.environment === environment)
  const theirs = deliveries.filter((delivery) => delivery.environment === environment)
  return `<section>
<h2>${escapeHtml(environment)}</h2>
${chart(theirs, since, until)}
<div class="scroll"><table>
<thead><tr><th scope="col">application</th><th scope="col">deployments</th><th scope="col">a week</th>
<th scope="col">lead time</th><th scope="col">failed</th><th scope="col">restored in</th>
<th scope="col">rollbacks</th></tr></thead>
<tbody>
${ours.map(row).join('\n')}
</tbody>
</table></div>
</section>`
}

function row(measured: Measures): string {
  const share = Math.round((measured.failureRate ?? 0) * 100)
  return `<tr><th scope="row">${escapeHtml(measured.app)}</th><td>${measured.deployments}</td>
<td>${perWeek(measured.frequency)}</td><td>${span(measured.leadTime)}</td>
<td><span class="bar"><span style="width:${share}%"></span></span> <span class="share">${percent(measured.failureRate)}</span></td>
<td>${span(measured.restoreTime)}</td><td>${measured.rollbacks}</td></tr>`
}

interface Bar {
  from: number
  succeeded: number
  failed: number
}

const WIDTH = 720
const HEIGHT = 150
const LEFT = 36
const BOTTOM = 22
const MOST_BARS = 60

/** Deployments over time, those that failed on top of those that succeeded. */
function chart(deliveries: readonly Delivery[], since: string, until: string): string {
  const bars = barsOf(deliveries, Date.parse(since), Date.parse(until))
  const most = Math.max(1, ...bars.map(({ succeeded, failed }) => succeeded + failed))
  const width = (WIDTH - LEFT) / bars.length
  const scale = (HEIGHT - BOTTOM - 8) / most
  const drawn = bars.map((bar, index) => {
    const x = LEFT + index * width
    const base = HEIGHT - BOTTOM
    const good = bar.succeeded * scale
    const bad = bar.failed * scale
    const day = new Date(bar.from).toISOString().slice(0, 10)
    const title = `${day}: ${bar.succeeded} succeeded, ${bar.failed} failed`
    return `<g><title>${title}</title>${rect('good', x, base - good, width, good)}${rect('bad', x, base - good - bad, width, bad)}</g>`
  })
  const label = (x: number, y: number, anchor: string, text: string) =>
    `<text x="${x}" y="${y}" text-anchor="${anchor}">${escapeHtml(text)}</text>`
  const [first = '', last = ''] = [bars.at(0), bars.at(-1)].map((bar) =>
    new Date(bar?.from ?? 0).toISOString().slice(0, 10),
  )
  const days = Math.ceil((Date.parse(until) - Date.parse(since)) / DAY / bars.length)
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Deployments over time">
<line x1="${LEFT}" y1="${HEIGHT - BOTTOM}" x2="${WIDTH}" y2="${HEIGHT - BOTTOM}" class="axis"/>
${label(LEFT - 6, 14, 'end', `${most}`)}${label(LEFT - 6, HEIGHT - BOTTOM, 'end', '0')}
${label(LEFT, HEIGHT - 6, 'start', first)}${label(WIDTH, HEIGHT - 6, 'end', last)}
${drawn.join('\n')}
</svg>
<p class="key"><span class="good"></span> succeeded <span class="bad"></span> failed or abandoned;
each bar is ${plural(days, 'day')}</p>`
}

function barsOf(deliveries: readonly Delivery[], begin: number, end: number): Bar[] {
  const days = Math.max(1, Math.ceil((end - begin) / DAY))
  const each = Math.ceil(days / MOST_BARS) * DAY
  const bars = Array.from({ length: Math.ceil((days * DAY) / each) }, (_, index) => ({
    from: begin + index * each,
    succeeded: 0,
    failed: 0,
  }))
  for (const { startedAt, state } of deliveries) {
    const bar = bars[Math.floor((Date.parse(startedAt) - begin) / each)]
    if (!bar || state === 'running') continue
    if (state === 'succeeded') bar.succeeded++
    else bar.failed++
  }
  return bars
}

function rect(kind: string, x: number, y: number, width: number, height: number): string {
  if (height === 0) return ''
  const gap = Math.min(2, width / 4)
  const size = [x + gap / 2, y, width - gap, height].map((value) => value.toFixed(1))
  return `<rect class="${kind}" x="${size[0]}" y="${size[1]}" width="${size[2]}" height="${size[3]}"/>`
}

const plural = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}

const STYLE = `
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5c6670; --line: #d5dae0; --good: #2f7d4f; --bad: #c2412d; --paper: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --dim: #9aa4ae; --line: #3a424b; --good: #57b37c; --bad: #ec7b66; --paper: #14181c } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .35rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child { text-align: left } thead th { color: var(--dim); font-weight: 500 }
svg { width: 100%; height: auto } svg text { font: 11px system-ui, sans-serif; fill: var(--dim) }
.axis { stroke: var(--line) } rect.good { fill: var(--good) } rect.bad { fill: var(--bad) }
.key { color: var(--dim); font-size: .85rem; margin: .2rem 0 1rem }
.key span { display: inline-block; width: .7rem; height: .7rem; margin: 0 .3rem 0 .8rem } .key span:first-child { margin-left: 0 }
.key .good { background: var(--good) } .key .bad { background: var(--bad) }
.bar { display: inline-block; width: 4rem; height: .5rem; background: var(--line); vertical-align: middle } .share { display: inline-block; min-width: 3.2em } .bar span { display: block; height: 100%; background: var(--bad) }
dt { font-weight: 600; margin-top: .6rem } dd { margin: 0; color: var(--dim) }
@media print { body { margin: 0; max-width: none } section { break-inside: avoid } }
`
