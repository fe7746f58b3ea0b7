import { plainJson, withoutCommands, withoutControls } from './plain-text.ts'

/**
 * How the program reports to its user: a fact a line. A section is a stretch of work with a title;
 * progress overwrites itself on a terminal and prints nothing elsewhere.
 */
export interface Log {
  info(text: string): void
  warn(text: string): void
  error(text: string): void
  /** Shown with --verbose only. */
  debug(text: string): void
  /** A line that another program printed. */
  output(line: string): void
  /** `done` of `total`; the last value shown is overwritten by the next line. */
  progress(label: string, done: number, total: number): void
  section<T>(title: string, work: () => Promise<T>): Promise<T>
}

export const logFormats = ['plain', 'terminal', 'gitlab', 'github', 'json'] as const
export type LogFormat = (typeof logFormats)[number]

export interface LogOptions {
  format: LogFormat
  /** Takes whole lines with their newline. */
  write: (text: string) => void
  mask: (text: string) => string
  /** Adapts our own texts to a surface; what another program printed stays. */
  word?: (text: string) => string
  verbose?: boolean
  now?: () => Date
}

type Level = 'info' | 'warn' | 'error' | 'debug' | 'output'

/** How one format prints. `depth` is the number of open sections. */
interface Formatter {
  /** One record for a message, however many lines it has. */
  whole?: true
  line(level: Level, text: string, depth: number): string
  open(id: string, title: string, depth: number): string
  close(id: string, title: string, depth: number, seconds: number, failed: boolean): string
  progress?(label: string, done: number, total: number): string
}

export function createLog(options: LogOptions): Log {
  const { write, mask, word = (text) => text, verbose = false, now = () => new Date() } = options
  const formatter = formatters[options.format](now)
  let depth = 0
  let sections = 0
  let progressShown = false

  const emit = (text: string) => {
    if (progressShown) write('\r\x1b[2K')
    progressShown = false
    write(text)
  }
  // Any text may have parts that others wrote. Masked before a formatter escapes or quotes anything:
  // afterwards a secret may look different.
  const clean = (text: string) => mask(withoutControls(text))
  const report = (level: Level) => (text: string) => {
    if (level === 'debug' && !verbose) return
    const message = clean(level === 'output' ? text : word(text))
    for (const line of formatter.whole ? [message] : message.split('\n'))
      emit(formatter.line(level, line, depth))
  }

  return {
    info: report('info'),
    warn: report('warn'),
    error: report('error'),
    debug: report('debug'),
    output: report('output'),
    progress(label, done, total) {
      if (!formatter.progress || total <= 0) return
      emit(formatter.progress(clean(label), done, total))
      progressShown = true
    },
    async section(text, work) {
      const title = clean(text)
      const id = `crosscloud_${++sections}`
      const start = now().getTime()
      const close = (failed: boolean) => {
        depth--
        const closing = formatter.close(id, title, depth, (now().getTime() - start) / 1000, failed)
        if (closing) emit(closing)
      }
      emit(formatter.open(id, title, depth))
      depth++
      try {
        const result = await work()
        close(false)
        return result
      } catch (error) {
        close(true)
        throw error
      }
    },
  }
}

/** Lines of work that is done side by side are told apart by the name before each. */
export function namedLog(log: Log, name: string): Log {
  const named = (write: (text: string) => void) => (text: string) =>
    write(text.startsWith(`host ${name}`) ? text : `${name}: ${text}`)
  return {
    ...log,
    info: named(log.info),
    warn: named(log.warn),
    error: named(log.error),
    debug: named(log.debug),
    output: (line) => log.output(`${name}: ${line}`),
  }
}

const indent = (depth: number) => '  '.repeat(depth)
const prefix: Record<Level, string> = {
  info: '',
  output: '| ',
  debug: '· ',
  warn: 'warning: ',
  error: 'error: ',
}
const colour: Record<Level, [string, string]> = {
  info: ['', ''],
  output: ['\x1b[2m', '\x1b[0m'],
  debug: ['\x1b[2m', '\x1b[0m'],
  warn: ['\x1b[33m', '\x1b[0m'],
  error: ['\x1b[31m', '\x1b[0m'],
}
const bold = (text: string) => `\x1b[1m${text}\x1b[0m`

const plain = (): Formatter => ({
  line: (level, text, depth) => `${indent(depth)}${prefix[level]}${text}\n`,
  open: (_id, title, depth) => `${indent(depth)}${title}\n`,
  close: () => '',
})

const terminal = (): Formatter => ({
  line: (level, text, depth) =>
    `${indent(depth)}${colour[level][0]}${prefix[level]}${text}${colour[level][1]}\n`,
  open: (_id, title, depth) => `${indent(depth)}${bold(title)}\n`,
  close: (_id, title, depth, seconds, failed) =>
    failed ? `${indent(depth)}\x1b[31m✗ ${title} (${seconds.toFixed(1)} s)\x1b[0m\n` : '',
  progress: (label, done, total) => {
    const filled = Math.round((24 * Math.min(done, total)) / total)
    const percent = Math.floor((100 * Math.min(done, total)) / total)
    return `\r\x1b[2K${label} ${'█'.repeat(filled)}${'░'.repeat(24 - filled)} ${percent} %`
  },
})

/** https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections */
const gitlab = (now: () => Date): Formatter => {
  const seconds = () => Math.floor(now().getTime() / 1000)
  return {
    line: (level, text, depth) => terminal().line(level, text, depth),
    open: (id, title, depth) =>
      `\x1b[0Ksection_start:${seconds()}:${id}\r\x1b[0K${indent(depth)}${bold(title)}\n`,
    close: (id) => `\x1b[0Ksection_end:${seconds()}:${id}\r\x1b[0K\n`,
  }
}

/** GitHub shows ten annotations of a kind for a step; the last error is that of the step itself. */
const ANNOTATIONS = { warn: 10, error: 9 }

/** Workflow commands of GitHub Actions; groups there do not nest, so only the outermost folds. */
const github = (): Formatter => {
  const left = { ...ANNOTATIONS }
  return {
    whole: true,
    line: (level, text, depth) => {
      if ((level === 'warn' || level === 'error') && left[level]-- > 0) {
        const message = escapeCommand(text)
        return level === 'warn' ? `::warning::${message}\n` : `::error::${message}\n`
      }
      const lines = withoutCommands(text).split('\n')
      return lines.map((line) => plain().line(level, line, depth)).join('')
    },
    open: (_id, title, depth) =>
      depth === 0
        ? `::group::${escapeCommand(title)}\n`
        : `${withoutCommands(`${indent(depth)}${title}`)}\n`,
    close: (_id, _title, depth) => (depth === 0 ? '::endgroup::\n' : ''),
  }
}

function escapeCommand(text: string): string {
  return withoutCommands(text)
    .replaceAll('%', '%25')
    .replaceAll('\r', '%0D')
    .replaceAll('\n', '%0A')
}

const json = (now: () => Date): Formatter => {
  const line = (fields: object) =>
    `${plainJson(JSON.stringify({ time: now().toISOString(), ...fields }))}\n`
  return {
    whole: true,
    line: (level, text, depth) => line({ level, text, depth }),
    open: (id, title, depth) =>
      line({ level: 'info', event: 'section-start', id, text: title, depth }),
    close: (id, title, depth, seconds, failed) =>
      line({
        level: failed ? 'error' : 'info',
        event: 'section-end',
        id,
        text: title,
        depth,
        seconds,
        failed,
      }),
  }
}

const formatters: Record<LogFormat, (now: () => Date) => Formatter> = {
  plain,
  terminal,
  gitlab,
  github,
  json,
}

/** A log that prints nothing. */
export const silentLog: Log = {
  info() {},
  warn() {},
  error() {},
  debug() {},
  output() {},
  progress() {},
  section: (_title, work) => work(),
}
