import fc from 'fast-check'
import t from 'tap'
import { createLog, type LogFormat, logFormats, namedLog, silentLog } from '../../src/core/log.ts'
import { onOneLine, plainJson, withoutControls } from '../../src/core/plain-text.ts'
import { createSecrets } from '../../src/core/secrets.ts'

function record(format: LogFormat, options: { verbose?: boolean; secrets?: string[] } = {}) {
  const secrets = createSecrets()
  for (const secret of options.secrets ?? []) secrets.add(secret)
  let text = ''
  let seconds = Date.UTC(2026, 0, 2, 3, 4, 5) / 1000
  const log = createLog({
    format,
    mask: secrets.mask,
    verbose: options.verbose ?? false,
    now: () => new Date(seconds++ * 1000),
    write: (part) => {
      text += part
    },
  })
  return { log, text: () => text }
}

async function example(format: LogFormat): Promise<string> {
  const { log, text } = record(format)
  log.info('first\nsecond')
  await log.section('Outer', async () => {
    log.warn('careful: 100 %')
    await log.section('Inner', async () => {
      log.progress('pushing', 1, 3)
      log.output('from \x1b[31mMaven\x1b[0m\x1b[0Ksection_end:1:x\r')
      log.debug('not shown')
    })
    await log
      .section('Broken', () => Promise.reject(new Error('no')))
      .catch(() => log.error('it broke'))
  })
  return text()
}

const ESC = '\x1b'
const golden: Record<LogFormat, string[]> = {
  plain: [
    'first',
    'second',
    'Outer',
    '  warning: careful: 100 %',
    '  Inner',
    '    | from Mavensection_end:1:x',
    '  Broken',
    '  error: it broke',
    '',
  ],
  terminal: [
    'first',
    'second',
    `${ESC}[1mOuter${ESC}[0m`,
    `  ${ESC}[33mwarning: careful: 100 %${ESC}[0m`,
    `  ${ESC}[1mInner${ESC}[0m`,
    `\r${ESC}[2Kpushing ████████░░░░░░░░░░░░░░░░ 33 %\r${ESC}[2K    ${ESC}[2m| from Mavensection_end:1:x${ESC}[0m`,
    `  ${ESC}[1mBroken${ESC}[0m`,
    `  ${ESC}[31m✗ Broken (1.0 s)${ESC}[0m`,
    `  ${ESC}[31merror: it broke${ESC}[0m`,
    '',
  ],
  gitlab: [
    'first',
    'second',
    `${ESC}[0Ksection_start:1767323046:crosscloud_1\r${ESC}[0K${ESC}[1mOuter${ESC}[0m`,
    `  ${ESC}[33mwarning: careful: 100 %${ESC}[0m`,
    `${ESC}[0Ksection_start:1767323048:crosscloud_2\r${ESC}[0K  ${ESC}[1mInner${ESC}[0m`,
    `    ${ESC}[2m| from Mavensection_end:1:x${ESC}[0m`,
    `${ESC}[0Ksection_end:1767323050:crosscloud_2\r${ESC}[0K`,
    `${ESC}[0Ksection_start:1767323052:crosscloud_3\r${ESC}[0K  ${ESC}[1mBroken${ESC}[0m`,
    `${ESC}[0Ksection_end:1767323054:crosscloud_3\r${ESC}[0K`,
    `  ${ESC}[31merror: it broke${ESC}[0m`,
    `${ESC}[0Ksection_end:1767323056:crosscloud_1\r${ESC}[0K`,
    '',
  ],
  github: [
    'first',
    'second',
    '::group::Outer',
    '::warning::careful: 100 %25',
    '  Inner',
    '    | from Mavensection_end:1:x',
    '  Broken',
    '::error::it broke',
    '::endgroup::',
    '',
  ],
  json: [],
}

for (const format of logFormats) {
  if (format === 'json') continue
  await t.test(`the text of the format ${format} is as it was`, async (t) => {
    t.strictSame((await example(format)).split('\n'), golden[format])
  })
}

await t.test('json: each line is a document', async (t) => {
  const lines = (await example('json')).trim().split('\n')
  t.equal(
    lines[0],
    '{"time":"2026-01-02T03:04:05.000Z","level":"info","text":"first\\nsecond","depth":0}',
  )
  const documents = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  t.strictSame(
    documents.map(({ level, event, text, depth, failed }) => [
      level,
      event ?? '',
      text,
      depth,
      failed,
    ]),
    [
      ['info', '', 'first\nsecond', 0, undefined],
      ['info', 'section-start', 'Outer', 0, undefined],
      ['warn', '', 'careful: 100 %', 1, undefined],
      ['info', 'section-start', 'Inner', 1, undefined],
      ['output', '', 'from Mavensection_end:1:x', 2, undefined],
      ['info', 'section-end', 'Inner', 1, false],
      ['info', 'section-start', 'Broken', 1, undefined],
      ['error', 'section-end', 'Broken', 1, true],
      ['error', '', 'it broke', 1, undefined],
      ['info', 'section-end', 'Outer', 0, false],
    ],
  )
})

await t.test('debug lines are shown with --verbose only', async (t) => {
  const { log, text } = record('plain', { verbose: true })
  log.debug('why')
  t.equal(text(), '· why\n')
})

await t.test('sections return the result and throw the error of their work', async (t) => {
  for (const log of [record('plain').log, silentLog]) {
    t.equal(await log.section('a', async () => 42), 42)
    await t.rejects(
      log.section('a', () => Promise.reject(new Error('mine'))),
      /mine/,
    )
  }
})

/** A value that changes its looks wherever something is escaped, quoted or encoded. */
const AWKWARD = 'p%ss"w\\rd :/+ü'
const PEM = '-----BEGIN KEY-----\nMIIEow+/IBAAKCAQEA\nabc\n-----END KEY-----'

await t.test('secrets are masked in every format, however they leak', async (t) => {
  const leaks = [
    AWKWARD,
    encodeURIComponent(AWKWARD),
    JSON.stringify({ password: AWKWARD }),
    Buffer.from(AWKWARD).toString('base64'),
    `https://ci:${encodeURIComponent(AWKWARD)}@git.example.com/x`,
  ]
  for (const format of logFormats) {
    const { log, text } = record(format, { verbose: true, secrets: [AWKWARD, PEM, 'info', 'true'] })
    for (const leak of leaks) {
      for (const level of ['info', 'warn', 'error', 'debug', 'output'] as const) {
        log[level](`before ${leak} after`)
      }
      log.progress(`pushing ${leak}`, 1, 2)
      await log.section(`section ${leak}`, async () => {})
    }
    // A secret of several lines, in one text and line by line as a program prints it.
    log.info(`the key\n${PEM}\nwas it`)
    for (const line of PEM.split('\n')) log.output(line)
    for (const leak of [...leaks, ...PEM.split('\n').filter(({ length }) => length > 3)]) {
      t.notOk(text().includes(leak), `${format}: ${leak.slice(0, 20)}`)
    }
    t.ok(text().includes('***'))
    t.ok(text().includes('before') && text().includes('after'), 'the rest is still there')
    if (format === 'json') {
      for (const line of text().trim().split('\n')) t.ok(JSON.parse(line).time, 'still JSON')
    }
  }
})

await t.test('a secret is masked in every way that a template or a format writes it', async (t) => {
  const secret = `Sup3r:S&cret=<Pw> "x"/it's!é\\`
  const secrets = createSecrets()
  secrets.add(secret)
  const xml = secret.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  const written = [
    secret.replaceAll('&', '&amp;'),
    xml,
    xml.replaceAll('"', '&quot;'),
    xml.replaceAll('"', '&quot;').replaceAll("'", '&apos;'),
    xml.replaceAll('"', '&#34;').replaceAll("'", '&#39;'),
    new URLSearchParams([['', secret]]).toString().slice(1),
    encodeURIComponent(secret).replace(/%../g, (found) => found.toLowerCase()),
    JSON.stringify(secret).slice(1, -1).replaceAll('/', '\\/'),
    JSON.stringify(secret).slice(1, -1).replaceAll('é', '\\u00e9'),
    'Sup3r:S\\u0026cret=\\u003cPw\\u003e \\"x\\"/it\'s!é\\\\',
    'Sup3r\\:S&cret\\=<Pw> "x"/it\'s\\!\\u00E9\\\\',
    Buffer.from(secret).toString('base64url'),
    `'${secret.replaceAll("'", "'\\''")}'`,
    `'${secret.replaceAll("'", "''")}'`,
    secret.toUpperCase(),
  ]
  for (const form of written) t.notMatch(secrets.mask(`a ${form} z`), /sup3r|cret|pw|x/i, form)
  for (const form of written) t.notMatch(secrets.mask(`a ${form} z`), form.slice(-6), form)
  const short = createSecrets()
  short.add('Word')
  short.add('Production')
  t.equal(short.mask('Production: production'), '***: production')
  t.equal(
    short.mask('a word, a Word'),
    'a word, a ***',
    'a short one is not looked for in all letters',
  )
})

await t.test('the mask holds for any secret in any text', async (t) => {
  const secret = fc.string({ minLength: 6, maxLength: 40, unit: 'binary' })
  fc.assert(
    fc.property(secret, fc.string(), fc.string(), (value, before, after) => {
      const secrets = createSecrets()
      secrets.add(value)
      const masked = secrets.mask(`${before}${value}${after}`)
      return !masked.includes(value) || value.includes('***')
    }),
  )
  const added: string[] = []
  const secrets = createSecrets((value) => added.push(value))
  secrets.add(undefined)
  secrets.add('abc')
  t.equal(secrets.mask('abc is too short to be a secret'), 'abc is too short to be a secret')
  secrets.add('short')
  secrets.add('shorter one')
  secrets.add('short')
  t.equal(secrets.mask('a shorter one, a short'), 'a ***, a ***', 'the longest first')
  secrets.add('shorter one')
  t.equal(added.filter((value) => value === 'shorter one').length, 1, 'each is added once')
  t.notOk(added.includes('short'), 'a runner would drop every output with a short word in it')
  t.equal(
    secrets.maskValue('a shorter one, a short'),
    'a ***, a short',
    'short secrets stay in documents',
  )
})

const WHITE = '\t\v\f\r\u0085\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\ufeff\u200b'
const START = new RegExp(`^[${WHITE} ]+`)

await t.test('output of other programs cannot command the runner', async (t) => {
  const { log, text } = record('github')
  const attacks = [
    '::set-output name=a::b',
    '   ::add-mask::x',
    '\t::stop-commands::t',
    'x ##[error]y',
    // The runner is a .NET program: its white space is not JavaScript's.
    ...[...WHITE].map((space) => `two\n${space} ${space}::add-mask::x`),
  ]
  for (const attack of attacks) {
    log.info(attack)
    log.output(attack)
  }
  for (const line of text().split('\n')) {
    // As the runner's ActionCommand.cs looks for them.
    const trimmed = line.replace(START, '')
    t.notOk(trimmed.startsWith('::') || line.includes('##['), encodeURI(line))
  }
  log.warn('two\nlines %0A')
  t.match(text(), /^::warning::two%0Alines %250A\n$/m, 'an annotation for each message')
})

await t.test('GitHub gets as many annotations as it shows; the rest are lines of the log', (t) => {
  const { log, text } = record('github')
  for (let count = 1; count <= 12; count++) {
    log.warn(`warning ${count}\nof two lines`)
    log.error(`problem \x1b[31m${count}\x1b[0m`)
  }
  const lines = text().split('\n')
  t.equal(lines.filter((line) => line.startsWith('::warning::')).length, 10)
  t.equal(
    lines.filter((line) => line.startsWith('::error::')).length,
    9,
    'the tenth is for what the step itself says at its end',
  )
  t.notMatch(lines.filter((line) => line.startsWith('::')).join(), '\x1b', 'no colours in them')
  t.match(text(), /^warning: warning 12\nwarning: of two lines$/m)
  t.match(text(), /^error: problem .*12/m)
  t.end()
})

await t.test('progress is drawn only on a terminal, and never above its end', async (t) => {
  for (const format of logFormats) {
    const { log, text } = record(format)
    log.progress('pushing', 5, 0)
    t.equal(text(), '', 'nothing to do')
    log.progress('pushing', 9, 3)
    if (format === 'terminal') t.match(text(), /█{24} 100 %$/)
    else t.equal(text(), '', format)
  }
})

t.test(
  'what others wrote controls neither a terminal nor a runner, whatever prints it',
  async (t) => {
    const hostile = `x\x1b]0;t\x07\x1b[2Jy\r\x9b31m\x1b[0Ksection_end:1:x\n##[stop-commands]z\n::stop::w`
    for (const format of logFormats) {
      const { log, text } = record(format, { verbose: true })
      const clean = record(format, { verbose: true })
      for (const [{ log: into }, said] of [
        [{ log }, hostile],
        [clean, withoutControls(hostile)],
      ] as const) {
        for (const level of ['info', 'warn', 'error', 'debug', 'output'] as const) into[level](said)
        await into.section(said, () => into.section(said, async () => into.info('in')))
      }
      t.equal(text(), clean.text(), format)
      if (format === 'github') t.notMatch(text(), /^ *(?:::stop|.*##\[)/m)
      if (format === 'json') t.notMatch(text(), '##[')
    }
  },
)

t.test('a document of JSON stays the same in characters that control nothing', (t) => {
  const value = { text: '\x9b31m\u2028##[group]\x7f::x\n' }
  const plain = plainJson(JSON.stringify(value))
  t.same(JSON.parse(plain), value)
  t.notMatch(plain, /[\p{Cc}\u2028]|##\[/u)
  t.equal(onOneLine('1.0\nb\t\x1b[2J\u202e\x9b é'), '1.0\\nb\\t\\u001b[2J\\u202e\\u009b é')
  t.end()
})

t.test('lines of work that is done side by side are told apart by a name', async (t) => {
  const { log, text } = record('plain')
  const named = namedLog(log, 'app-01')
  named.info('created web')
  named.output('it starts')
  named.error('host app-01: it ended')
  await named.section('below', async () => log.info('not named'))
  t.equal(
    text(),
    'app-01: created web\n| app-01: it starts\nerror: host app-01: it ended\nbelow\n  not named\n',
  )
})
