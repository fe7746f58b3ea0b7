import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { table } from '../src/cli/output.ts'
import { StepError } from '../src/core/errors.ts'
import { freePort, reach } from '../test/support/servers/ports.ts'
import { missingProgram, serverFolder, startServer } from '../test/support/servers/server.ts'
import { median, time } from './measure.ts'

const ROUNDS = 5
const TEMPLATES = 100
const VALUES = 50
const KEYS = 10_000

/** Seconds. confd's own figures: Redis on loopback, as many keys and templates. */
interface Case {
  name: string
  confd: string
  goal: number | undefined
  /** `keys` of the n-th resource. */
  keys(n: number): string[]
  layout: 'strings' | 'hashes'
  /** Each round finds what the last one wrote, and one template that changed. */
  changed?: boolean
}

const below = (n: number) => `/app/t${n}`
const key = (n: number, i: number) => `${below(n)}/k${i}`
const named = (n: number) => Array.from({ length: VALUES }, (_, i) => key(n, i))
const cases: readonly Case[] = [
  { name: 'A: keys by name', confd: '0.84–1.3', goal: 0.5, keys: named, layout: 'strings' },
  {
    name: 'B: a prefix each',
    confd: '1.5–3.2',
    goal: 0.5,
    keys: (n) => [below(n)],
    layout: 'strings',
  },
  {
    name: 'C: the whole tree',
    confd: '62–83',
    goal: 0.6,
    keys: () => ['/app'],
    layout: 'strings',
  },
  {
    name: 'D: a hash each',
    confd: '0.28–0.38',
    goal: undefined,
    keys: (n) => [below(n)],
    layout: 'hashes',
  },
  {
    name: 'B, one template changed',
    confd: '',
    goal: 0.3,
    keys: (n) => [below(n)],
    layout: 'strings',
    changed: true,
  },
]

/**
 * 100 templates of 50 values each from 10,000 keys in Redis on loopback: whole processes of
 * `render-config --out`, in turn, with a warm cache of compiled templates.
 */
export async function benchConfig() {
  const missing = missingProgram('redis-server')
  if (missing) throw new StepError('NOT_FOUND', `the bench ${missing}`)
  const { folder, remove } = await serverFolder('bench')
  const port = await freePort()
  const options = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', folder]
  const server = await startServer('redis-server', options, { ready: () => reach(port) })
  try {
    await fill(port, 0, stringCommands())
    await fill(port, 1, hashCommands())
    const seconds = new Map<string, number[]>(cases.map(({ name }) => [name, []]))
    for (const [index, size] of cases.entries()) await makeProject(folder, index, size, port)
    // The first round fills the cache and is not counted.
    for (let round = 0; round <= ROUNDS; round++) {
      for (const [index, { name, changed }] of cases.entries()) {
        const project = join(folder, `${index}`)
        if (changed) await writeTemplate(project, 7, `# round ${round}\n`)
        else await rm(join(project, 'out'), { recursive: true, force: true })
        const took = await time(() => render(folder, project))
        if (round === 0) await check(project)
        else seconds.get(name)?.push(took / 1000)
      }
    }
    return report(seconds)
  } finally {
    await server.stop()
    await remove()
  }
}

function* stringCommands() {
  for (let n = 0; n < TEMPLATES; n++) {
    for (let i = 0; i < KEYS / TEMPLATES; i++) yield ['SET', key(n, i), `value ${n} ${i}`]
  }
}

function* hashCommands() {
  for (let n = 0; n < TEMPLATES; n++) {
    const fields = Array.from({ length: KEYS / TEMPLATES }, (_, i) => [`k${i}`, `value ${n} ${i}`])
    yield ['HSET', below(n), ...fields.flat()]
  }
}

/** RESP by hand: the bench must not measure what it uses. */
async function fill(port: number, database: number, commands: Iterable<string[]>): Promise<void> {
  const all = [['SELECT', `${database}`], ...commands, ['QUIT']]
  const socket = connect(port, '127.0.0.1')
  socket.resume()
  for (const words of all) {
    const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
    socket.write(`*${words.length}\r\n${parts.join('')}`)
  }
  await once(socket, 'close')
}

async function makeProject(folder: string, index: number, { keys, layout }: Case, port: number) {
  const project = join(folder, `${index}`)
  await mkdir(join(project, 'deploy', 'conf.d'), { recursive: true })
  await mkdir(join(project, 'deploy', 'templates'))
  const database = layout === 'hashes' ? 1 : 0
  await writeFile(
    join(project, 'crosscloud.yml'),
    `app: webapi\nenvironments:\n  test:\n    image: registry.test/team/webapi\n    config: redis://127.0.0.1:${port}/${database}\n`,
  )
  for (let n = 0; n < TEMPLATES; n++) {
    const lines = [
      '[template]',
      `src = "t${n}.hbs"`,
      `dest = "/etc/app/t${n}.properties"`,
      `keys = ${JSON.stringify(keys(n))}`,
    ]
    await writeFile(join(project, 'deploy', 'conf.d', `t${n}.toml`), `${lines.join('\n')}\n`)
    await writeTemplate(project, n, '')
  }
}

async function writeTemplate(project: string, n: number, head: string): Promise<void> {
  const lines = named(n).map((name, i) => `app.t${n}.k${i}={{getv "${name}"}}\n`)
  await writeFile(join(project, 'deploy', 'templates', `t${n}.hbs`), `${head}${lines.join('')}`)
}

async function render(folder: string, cwd: string): Promise<void> {
  const main = join(process.cwd(), 'dist', 'cli', 'main.js')
  const args = [main, 'render-config', '--env', 'test', '--out', 'out']
  const env = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') }
  const child = spawn(process.execPath, args, { cwd, env, stdio: ['ignore', 'ignore', 'inherit'] })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new StepError('COMMAND_FAILED', `render-config in ${cwd} gave ${code}`)
}

async function check(project: string): Promise<void> {
  const path = join(project, 'out', 'etc', 'app', `t${TEMPLATES - 1}.properties`)
  const text = await readFile(path, 'utf8')
  const last = `app.t${TEMPLATES - 1}.k${VALUES - 1}=value ${TEMPLATES - 1} ${VALUES - 1}\n`
  if (!text.endsWith(last)) throw new StepError('VERIFY_FAILED', `${path} is not complete`)
}

function report(seconds: ReadonlyMap<string, readonly number[]>) {
  const results = cases.map(({ name, confd, goal }) => {
    const rounds = seconds.get(name) ?? []
    return { name, confd, goal, median: median(rounds), rounds }
  })
  const show = (value: number | undefined) => (value === undefined ? '' : value.toFixed(2))
  const rows = results.map(({ name, confd, goal, median: middle, rounds }) => [
    name,
    confd,
    show(middle),
    goal === undefined ? '' : `≤ ${goal}`,
    goal === undefined ? '' : middle <= goal ? 'met' : 'not met',
    rounds.map(show).join(' '),
  ])
  const text = `${TEMPLATES} templates × ${VALUES} values, ${KEYS} keys in Redis; seconds a process\n${table(
    ['', 'confd', 'median', 'goal', '', 'rounds'],
    rows,
  )}`
  return { json: { results }, text }
}
