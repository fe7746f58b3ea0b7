import type { Test } from 'tap'
import { StepError } from '../../../../src/core/errors.ts'
import type { RolloutCommands } from '../../../../src/targets/target.ts'
import type { Rollouts } from './stages.test.ts'

/** What one-off commands must do, on hosts of one engine. */
export async function oneOffCommands(t: Test, { named, spec, go, fail, seen }: Rollouts) {
  const hosts = named('ab')
  const [first] = hosts
  if (!first) throw new Error('two hosts')
  const file = { path: '/conf/x', content: Buffer.from('placed'), mode: 0o400, uid: 0, gid: 0 }
  const name = 'once'
  const wanted = (version: 1 | 2) => ({
    ...spec(name, version, { env: { FILE: '/conf/x' } }),
    files: [file],
  })
  const expect = async (t: Test, what: string) =>
    t.same(await seen(hosts, name), [`host-a: ${what}`, `host-b: ${what}`])
  const told: string[] = []
  const commands = (argv: Partial<RolloutCommands>): RolloutCommands => ({
    before: undefined,
    after: undefined,
    timeout: 60_000,
    mask: (text) => text.replaceAll('open-sesame', '***'),
    onStart: async (which, host) => void told.push(`${which} on ${host}`),
    onEnd: async (which, { lines }) => void told.push(`${which}: ${[...lines].sort().join(', ')}`),
    ...argv,
  })
  const run = (code: number, word: string, seconds = 0) => [
    ...['/server', `${code}`, word, `${seconds}`],
  ]

  await t.test('before the first host and after the last, in the new image', async (t) => {
    const order: string[] = []
    const both = commands({ before: run(0, 'open-sesame'), after: run(0, 'warm up') })
    const { thrown, text } = await go({
      hosts,
      spec: wanted(2),
      commands: both,
      verify: async ({ name }) => void order.push(`${name} after ${told.length}`),
    })
    t.equal(thrown, undefined)
    const lines = (word: string) => `a line on stderr, command ${word}, demo 2 starts, file: placed`
    t.same(told, [
      ...['before on host-a', `before: ${lines('***')}`],
      ...['after on host-a', `after: ${lines('warm up')}`],
    ])
    t.same(order, ['host-a after 2', 'host-b after 2'])
    t.match(text, /^after: \/server 0 warm up 0 on host-a\n(?:.*\n)* {2}\| command warm up\n/m)
    await expect(t, '2')
  })

  await t.test('a failure before the first host changes none', async (t) => {
    const cases = [
      {
        argv: { before: run(3, 'open-sesame') },
        message: /before ended with exit code 3\n(?:.*\n)* {2}\| command \*\*\*/,
        hint: /^No host was changed/,
      },
      { argv: { before: ['/no-such-program'] }, message: /starting .*once\.before: .*no-such/ },
      {
        argv: {
          before: run(0, 'x'),
          onStart: async () => {
            throw new StepError('UNAVAILABLE', 'the ledger is away')
          },
        },
        message: 'the ledger is away',
      },
      {
        argv: { before: run(0, 'sleeps', 600), timeout: 300 },
        message: /^host host-a: before did not end within 0\.3 s, and was killed/,
      },
    ]
    for (const { argv, ...error } of cases) {
      const { thrown } = await go({ hosts, spec: wanted(1), commands: commands(argv) })
      t.match(thrown, { ...error, standings: undefined })
    }
    const stop = new AbortController()
    const { thrown } = await go({
      hosts,
      spec: wanted(1),
      signal: stop.signal,
      commands: commands({ before: run(0, 'sleeps', 600) }),
      onText: (text) => text.includes('command sleeps') && stop.abort(),
    })
    t.match(thrown, {
      ...{ code: 'CANCELLED', standings: undefined },
      message:
        /^host host-a: cancelled: before was killed at its work after [\d.]+ s; its container is removed; no host was changed\n(?:.*\n)* {2}\| command sleeps/,
      hint: /^What it has done so far stays\..*`crosscloud history --json`/,
    })
    t.equal(await first.inspect(`${name}.before`), undefined)
    await expect(t, '2')
  })

  await t.test('a cancel says what became of the command, whatever that is', async (t) => {
    const cancel = async (argv: string[], views: Partial<typeof first>, at: 'start' | 'end') => {
      const stop = new AbortController()
      const onStart = async () => void (at === 'start' && stop.abort())
      const { thrown, text } = await go({
        ...{ hosts: [{ ...first, ...views }], spec: wanted(1), signal: stop.signal },
        commands: commands({ before: argv, onStart }),
        onText: (text) => at === 'end' && text.includes('command word') && stop.abort(),
      })
      return { error: thrown as StepError, text }
    }
    const never = await cancel(run(0, 'word'), {}, 'start')
    t.match(never.error, {
      message: /: before was not started; its container is removed; no host was changed$/,
      hint: 'Run the same command again.',
    })
    const ended = async (id: string) => {
      const seen = await first.inspect(id)
      return seen?.running ? { ...seen, running: false, exitCode: 3 } : seen
    }
    const itself = await cancel(run(0, 'word', 600), { inspect: ended }, 'end')
    t.match(itself.error.message, /: before ended by itself with exit code 3 after /)
    const refuse = async () => {
      throw new StepError('UNAVAILABLE', 'it answers no more')
    }
    const silent = await cancel(run(0, 'word', 600), { remove: refuse }, 'end')
    t.match(
      silent.error.message,
      /: before may still be at work; its container once\.before could not be removed, which the next/,
    )
    t.match(silent.text, /warning: it answers no more; the next deployment removes once\.before/)
    await first.remove((await first.inspect(`${name}.before`))?.id ?? '')
    await expect(t, '2')
  })

  await t.test('after a failure at the end on-failure decides', async (t) => {
    const parallel = { hosts: 2 }
    const broken = { hosts, spec: wanted(1), commands: commands({ after: run(4, 'broke') }) }
    const restored = await fail({ ...broken, strategy: { parallel } })
    t.match(restored.error.message, /^host host-a: after ended with exit code 4\n/)
    await expect(t, '2')
    const kept = await fail({ ...broken, strategy: { parallel, onFailure: 'stop' } })
    t.match(kept.error.standings, [
      { serves: 'new', error: undefined },
      { serves: 'new', error: undefined },
    ])
    await expect(t, '1, 2.previous down')
  })

  await t.test('what a killed deployer left of a command is removed, if it is ours', async (t) => {
    const left = await first.create({
      ...wanted(1),
      name: `${name}.before`,
      command: run(0, 'x', 600),
    })
    await first.start(left.id)
    const { thrown, text } = await go({ hosts: [first], spec: wanted(1) })
    t.equal(thrown, undefined)
    t.match(text, /warning: host host-a: .* its command before was at work; it still ran, and was/)
    t.equal(await first.inspect(`${name}.before`), undefined)
    const foreign = await first.create({ ...wanted(1), name: `${name}.after`, labels: {} })
    const refused = await go({ hosts, spec: wanted(2), ownerLabels: ['test.name'] })
    t.match(refused.thrown, { code: 'CONFLICT', message: /once\.after was not put there by/ })
    t.equal((await first.inspect(`${name}.after`))?.id, foreign.id)
  })
}
