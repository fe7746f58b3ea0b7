import t from 'tap'
import { lastOf, mergeByTime, only } from '../../src/cli/instances/merge.ts'
import { namePrefixes } from '../../src/cli/instances/print.ts'
import { StepError } from '../../src/core/errors.ts'
import type { Instance } from '../../src/targets/target.ts'

const instance = (host: string, name = 'webapi') => ({ host, name }) as Instance

async function* log(...texts: string[]) {
  for (const text of texts) {
    if (text === '!') throw new StepError('UNAVAILABLE', 'gone')
    yield { at: text.slice(0, 1), text }
  }
}

t.test('lines of several hosts come in the order of their times', async (t) => {
  const errors: string[] = []
  const sources = [
    { instance: instance('app-01'), lines: log('1a', '4a', '4b') },
    { instance: instance('app-02'), lines: log('2c', '3d', '!') },
    { instance: instance('app-03'), lines: log() },
  ]
  const seen = []
  for await (const line of mergeByTime(sources, ({ message }) => errors.push(message))) {
    seen.push(`${line.instance.host} ${line.text}`)
  }
  t.strictSame(seen, ['app-01 1a', 'app-02 2c', 'app-02 3d', 'app-01 4a', 'app-01 4b'])
  t.strictSame(errors, ['gone'], 'a log that fails hides none of the others')
})

t.test('of the lines that match, the last are taken', async (t) => {
  const seen = []
  const matching = only(log('1 x', '2 y', '3 x', '4 x'), (text) => text.includes('x'))
  for await (const { text } of lastOf(matching, 2)) seen.push(text)
  t.strictSame(seen, ['3 x', '4 x'])
})

t.test('names are as long as they must be to tell instances apart', async (t) => {
  t.equal(namePrefixes([instance('app-01')])(instance('app-01')), '')
  const hosts = [instance('app-1'), instance('app-22')]
  t.equal(namePrefixes(hosts)(instance('app-1')), 'app-1  | ')
  const two = [instance('app-1', 'a'), instance('app-1', 'b')]
  t.equal(namePrefixes(two)(instance('app-1', 'b')), 'app-1/b | ')
})
