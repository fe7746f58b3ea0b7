import { parse } from 'yaml'
import { compilePolicy } from '../src/policy/compile.ts'
import { policySettings } from '../src/policy/settings.ts'
import { environmentTable, roleTable, type Table } from '../src/policy/tables.ts'
import { meanings, verbs } from '../src/policy/verbs.ts'
import { row } from './pages.ts'

/** Every verb, with what it allows. */
export function verbsTable(): string {
  return markdown({
    headings: ['verb', 'allows to'],
    rows: verbs.map((verb) => [`\`${verb}\``, meanings[verb]]),
  })
}

/** Role × verb and verb × environment of the policy that the page shows. */
export function policyTables(page: string): string {
  const [, yaml = ''] = /^```yaml\n(# crosscloud\.server\.yml\n[\s\S]*?)^```$/m.exec(page) ?? []
  const settings = policySettings.parse(parse(yaml).policy)
  return [
    'What each role may:',
    markdown(roleTable(settings)),
    'And who may what in which environment; *any other* is one that no grant names:',
    markdown(environmentTable(compilePolicy(settings))),
  ].join('\n\n')
}

function markdown({ headings, rows }: Table): string {
  return [headings, headings.map(() => '---'), ...rows].map((cells) => row(...cells)).join('\n')
}
