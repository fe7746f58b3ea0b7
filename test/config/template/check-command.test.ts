import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import t from 'tap'
import { parseCommand, runCheckCommands } from '../../../src/config/template/check-command.ts'
import { renderAll } from '../../../src/config/template/render.ts'
import { readTemplates } from '../../../src/config/template/resources.ts'
import { compileTemplates } from '../../../src/config/template/templates.ts'

t.test('a check command is split into words, and shell syntax is refused', async (t) => {
  const table: [text: string, words: string[]][] = [
    ['nginx -t -c {{.src}}', ['nginx', '-t', '-c', '{{.src}}']],
    ['  a   b ', ['a', 'b']],
    [`a "b c" 'd e' f\\ g`, ['a', 'b c', 'd e', 'f g']],
    [`a "it's" 'say "x"' "q\\"q"`, ['a', "it's", 'say "x"', 'q"q']],
    [`a --x="b c"d`, ['a', '--x=b cd']],
    [`a "$HOME;|" '*'`, ['a', '$HOME;|', '*']],
    ['a {{ .src }}', ['a', '{{ .src }}']],
  ]
  for (const [text, words] of table) t.same(parseCommand(text, 'x'), words, text)
  for (const text of [
    'a | b',
    'a; b',
    'a && b',
    'a > b',
    'a $(b)',
    'a `b`',
    'a $HOME',
    'a *',
    'a (b',
    'a "b',
  ]) {
    t.throws(() => parseCommand(text, 'conf.d/x.toml'), {
      code: 'INPUT_INVALID',
      message: /conf\.d\/x\.toml: check_cmd: ".?" wants a shell/,
    })
  }
  t.throws(() => parseCommand('  ', 'x'), { message: /empty/ })
})

async function check(checkCmd: string) {
  const resource = `[template]\nsrc = "a"\ndest = "/etc/a b"\nmode = "0640"\ncheck_cmd = ${JSON.stringify(checkCmd)}\n`
  const files = new Map([
    ['conf.d/a.toml', Buffer.from(resource)],
    ['templates/a', Buffer.from('p={{getv "/p"}}\n')],
  ])
  const templates = readTemplates(files)
  const snapshot = new Map([['/p', 'sentinel']])
  const compiled = await compileTemplates(templates)
  const { files: rendered } = renderAll({ templates: compiled, snapshot, environment: 'x' })
  return runCheckCommands(templates, rendered, {
    mask: (text) => text.replaceAll('sentinel', '***'),
  })
}

t.test(
  'check_cmd runs on the rendered files, and its failures are reported together',
  async (t) => {
    const folders = async () =>
      (await readdir(tmpdir())).filter((name) => name.startsWith('crosscloud-check-'))
    const before = await folders()
    t.same(await check('grep -q "^p=sentinel$" {{.src}}'), { passed: ['/etc/a b'], skipped: [] })
    t.same(await check('no-such-program-here {{.src}}'), {
      passed: [],
      skipped: ['conf.d/a.toml: no-such-program-here is not on this machine'],
    })
    await t.rejects(check('sh -c "cat \\"$1\\"; exit 3" sh {{.src}}'), {
      code: 'INPUT_INVALID',
      message: /conf\.d\/a\.toml: check_cmd: .*3[\s\S]*p=\*\*\*/,
    })
    process.env.CROSSCLOUD_TEST_SENTINEL = 'seen'
    await check('sh -c "test -z \\"$CROSSCLOUD_TEST_SENTINEL\\"" sh')
    delete process.env.CROSSCLOUD_TEST_SENTINEL
    t.same(await folders(), before, 'nothing is left')
  },
)
