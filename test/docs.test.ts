import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { agentSchema } from '../src/agent/settings.ts'
import { createSecrets } from '../src/core/secrets.ts'
import { parseYamlSettings } from '../src/core/settings/settings-file.ts'
import { serverSchema } from '../src/server/settings/settings.ts'
import { parseSettings } from './support/data/settings.ts'
import { runHere } from './support/program.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const pages = ['README.md', 'README.zh-CN.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md']
const GENERATED = ['steps.md', 'settings.md', 'server-settings.md', 'agent-settings.md']
for (const name of await readdir(join(ROOT, 'docs'))) {
  // These are written by `npm run generate`.
  if (name.endsWith('.md') && !GENERATED.includes(name)) pages.push(`docs/${name}`)
}

const blocks = async (page: string, language: string) => {
  const text = await readFile(join(ROOT, page), 'utf8')
  const fence = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm')
  return [...text.matchAll(fence)].map(([, block = '']) => block)
}

/** Commands that have commands of their own. */
const GROUPS = [
  'config',
  'hosts',
  'instances',
  'ledger',
  'gitlab',
  'events',
  'policy',
  'audit',
  'tokens',
  'sessions',
]

t.test('every command that the documents show is one, with these flags', async (t) => {
  const helps = new Map<string, Promise<string>>()
  const help = (words: string[]) => {
    const key = words.join(' ')
    const found =
      helps.get(key) ??
      runHere([...words, '--help'], { cwd: ROOT }).then(({ code, all }) => (code === 0 ? all : ''))
    helps.set(key, found)
    return found
  }
  for (const page of pages) {
    const lines = (await blocks(page, 'sh'))
      .join('\n')
      .replaceAll(/\\\n\s*/g, ' ')
      .split('\n')
    for (const line of lines) {
      const [, rest = ''] = /^crosscloud ([^#|>]*)/.exec(line) ?? []
      if (rest === '' || rest.startsWith('--')) continue
      const words = rest.trim().split(/\s+/)
      const group = GROUPS.includes(words[0] ?? '') ? 2 : 1
      const shown = await help(words.slice(0, group))
      t.match(shown, `crosscloud ${words.slice(0, group).join(' ')}`, `${page}: ${line}`)
      for (const [flag] of rest.matchAll(/--[a-z][\w-]*/g)) {
        t.match(shown, flag, `${page}: ${line}`)
      }
    }
  }
})

t.test('every crosscloud.yml that the documents show can be read', async (t) => {
  let read = 0
  for (const page of pages) {
    for (const block of await blocks(page, 'yaml')) {
      if (!/^app: /m.test(block)) continue
      read++
      const names = [...block.matchAll(/\$\{(\w+)/g)].map(([, name = '']) => [name, 'a-value'])
      const variables = Object.fromEntries(names)
      await t.resolves(parseSettings(block, page, variables, createSecrets()), page)
    }
  }
  t.ok(read > 0, `${read} files`)
})

t.test('every crosscloud.server.yml that the documents show can be read', async (t) => {
  let read = 0
  for (const page of pages) {
    for (const text of await blocks(page, 'yaml')) {
      if (!text.startsWith('# crosscloud.server.yml')) continue
      read++
      const names = [...text.matchAll(/\$\{(\w+)/g)].map(([, name = '']) => [name, exampleOf(name)])
      const file = { text, name: page, page }
      const variables = Object.fromEntries(names)
      await t.resolves(parseYamlSettings(serverSchema, file, variables, createSecrets()), page)
    }
  }
  t.ok(read > 5, `${read} files`)
})

t.test('every crosscloud.agent.yml that the documents show can be read', async (t) => {
  let read = 0
  for (const page of pages) {
    for (const text of await blocks(page, 'yaml')) {
      if (!text.startsWith('# crosscloud.agent.yml')) continue
      read++
      const names = [...text.matchAll(/\$\{(\w+)/g)].map(([, name = '']) => name)
      const file = { text, name: page, page }
      const token = { AGENT_TOKEN: `cct_${'a'.repeat(43)}` }
      const variables = { ...Object.fromEntries(names.map((name) => [name, 'a-value'])), ...token }
      await t.resolves(parseYamlSettings(agentSchema, file, variables, createSecrets()), page)
    }
  }
  t.ok(read > 0, `${read} files`)
})

/** A receiver's address comes from a variable, too. */
const exampleOf = (name: string) =>
  name.endsWith('_ROBOT') ? 'https://robot.example.com/send' : 'a-value-of-the-test'

t.test(
  'every pipeline that the documents show includes templates that exist, with inputs of theirs',
  async (t) => {
    let read = 0
    for (const page of pages) {
      for (const block of await blocks(page, 'yaml')) {
        if (!/^include:/m.test(block)) continue
        const { include } = parse(block) as { include: { file: string; inputs?: object }[] }
        for (const { file, inputs = {} } of include) {
          if (!file?.startsWith('pipeline-templates/')) continue
          read++
          const [head] = parseAllDocuments(await readFile(join(ROOT, file), 'utf8'))
          const { spec } = (head?.toJS() ?? {}) as { spec?: { inputs: object } }
          const known = Object.keys(spec?.inputs ?? {})
          const unknown = Object.keys(inputs).filter((name) => !known.includes(name))
          t.strictSame(unknown, [], `${page}: ${file}`)
        }
      }
    }
    t.ok(read > 6, `${read} templates`)
  },
)

t.test(
  'the services that the documents show start the server with flags that it has',
  async (t) => {
    const { all } = await runHere(['serve', '--help'], { cwd: ROOT })
    let read = 0
    for (const page of pages) {
      for (const block of await blocks(page, 'ini')) {
        const [, flags] = /^ExecStart=\/usr\/bin\/crosscloud serve(.*)$/m.exec(block) ?? []
        if (flags === undefined) continue
        read++
        for (const [flag] of flags.matchAll(/--[a-z][\w-]*/g))
          t.match(all, flag, `${page}: ${flag}`)
      }
    }
    t.ok(read >= 2, `${read} services`)
  },
)

t.test('the server that is set up in ten minutes decides as its page asks', async (t) => {
  const page = 'docs/server.md'
  const [text = ''] = await blocks(page, 'yaml')
  const cwd = t.testdir({ 'crosscloud.server.yml': text })
  const lines = (await blocks(page, 'sh')).join('\n').match(/^crosscloud policy .*$/gm) ?? []
  for (const line of lines) {
    const found = await runHere(line.split(' ').slice(1), { cwd })
    t.match(found, { code: 0, stdout: /grants\[\d\]/ }, line)
  }
  t.ok(lines.length >= 2, `${lines.length} commands`)
})

t.test('every link leads to a file that exists', async (t) => {
  const { access } = await import('node:fs/promises')
  for (const page of pages) {
    const text = await readFile(join(ROOT, page), 'utf8')
    for (const [, link = ''] of text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (/^https?:/.test(link)) continue
      await t.resolves(access(join(ROOT, page, '..', link)), `${page}: ${link}`)
    }
  }
})
