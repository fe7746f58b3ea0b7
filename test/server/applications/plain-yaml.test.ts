import t from 'tap'
import { parse } from 'yaml'
import { readPlainYaml, writePlainYaml } from '../../../src/server/applications/plain-yaml.ts'

const read = (text: string) => readPlainYaml(text, 'webapi')

t.test('tags, and what else makes no plain values, are refused', async (t) => {
  const refused = [
    'environments: !!omap [production: {proxy: x}]',
    'environments: !!set {? production}',
    'environments: !!pairs [a: b]',
    'a: !!binary aGVsbG8=',
    'a: !!timestamp 2001-12-14',
    'a: !<tag:yaml.org,2002:omap> [b: c]',
    '%TAG ! tag:yaml.org,2002:\n---\na: !omap [b: c]',
    'a: !custom b',
    '%YAML 1.1\n---\nenvironments: !!omap [a: b]',
    '%YAML 1.1\n---\na: &x {b: c}\nd: {<<: *x}',
    'a: 1\na: 2',
    'a: 1\n---\nb: 2',
    'a: [',
  ]
  for (const text of refused) {
    await t.rejects(
      read(text),
      { code: 'INPUT_INVALID', message: /crosscloud.yml of webapi/ },
      text,
    )
  }
})

t.test('an alias is what it stands for, and a merge key is a key', async (t) => {
  const text = 'a: &x {b: /etc}\nc: *x\nd: {<<: *x}\n'
  const value = await read(text)
  t.strictSame(value, { a: { b: '/etc' }, c: { b: '/etc' }, d: { '<<': { b: '/etc' } } })
  const written = await writePlainYaml(value, 'webapi')
  t.notMatch(written, /[&*]/, 'nothing is an alias in the written text')
  t.strictSame(parse(written), value, 'and the reader of the step finds the same')
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]', 'b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]']
  for (const [from, to] of ['bc', 'cd', 'de', 'ef'])
    bomb.push(`${to}: &${to} [*${from},*${from},*${from}]`)
  await t.rejects(
    read(bomb.join('\n')),
    { code: 'INPUT_INVALID' },
    'a few aliases do not fill the memory',
  )
})

t.test('texts that look like something else stay texts', async (t) => {
  const value = { a: '!!omap [b: c]', '&x': '*y', b: ['%YAML 1.1', '<<', 'yes', '2001-01-01', ''] }
  t.strictSame(await read(await writePlainYaml(value, 'webapi')), value)
})
