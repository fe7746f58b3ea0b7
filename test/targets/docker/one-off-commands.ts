import type { Test } from 'tap'
import { StepError } from '../../../src/core/errors.ts'
import type { RolloutCommands } from '../../../src/targets/target.ts'
import type { Rollouts } from './stages.test.ts'

/** What one-off commands must do, on hosts of one engine. */
export async function oneOffCommands(t: Test, { named, spec, go, fail, seen }: Rollouts) {
  const hosts = named('ab')
  const [first] = hosts
  if (!first) throw new Error('two hosts')
  const file = { path: '/conf/x', content: Buffer.from('placed'), mode: 0o400, uid: 0, gid: 0 }
  const wanted = (name: string, version: 1 | 2) => ({
    ...spec(name, version, { env: { FILE: '/conf/x' } }),
    files: [file],
  })
  const told: string[] = []
  const commands = (argv: Partial<RolloutCommands>): RolloutCommands => ({
    ...{ before: undefined, after: undefined, timeout: 60_000 },
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
    const both = commands({ before: run(0, 'migrate'), after: run(0, 'warm up') })
    const { thrown, text } = await go({
      ...{ hosts, spec: wanted('once', 2), commands: both },
      verify: async ({ name }) => void order.push(`${name} after ${told.length}`),
    })
    t.equal(thrown, undefined)
    const lines = (word: string) => `a line on stderr, command ${word}, demo 2 starts, file: placed`
    t.same(told, [
      ...['before on host-a', `before: ${lines('migrate')}`],
      ...['after on host-a', `after: ${lines('warm up')}`],
    ])
    t.same(order, ['host-a after 2', 'host-b after 2'])
    t.match(text, /^before: \/server 0 migrate 0 on host-a\n(?:.*\n)* {2}\| command migrate\n/m)
    t.same(await seen(hosts, 'once'), ['host-a: 2', 'host-b: 2'], 'its container is gone')
  })

  await t.test('a failure before the first host changes none', async (t) => {
    await go({ hosts, spec: wanted('fails', 1) })
    const { thrown } = await go({
      ...{ hosts, spec: wanted('fails', 2), commands: commands({ before: run(3, 'broke') }) },
    })
    t.match(thrown, {
      code: 'COMMAND_FAILED',
      message: /^host host-a: before ended with exit code 3\n(?:.*\n)* {2}\| command broke/,
      hint: /^No host was changed/,
      standings: undefined,
    })
    const absent = commands({ before: ['/no-such-program'] })
    t.match((await go({ hosts, spec: wanted('fails', 2), commands: absent })).thrown, {
      message: /^host host-a: starting .*fails\.before/,
    })
    const refused = commands({
      before: run(0, 'x'),
      onStart: async () => {
        throw new StepError('UNAVAILABLE', 'the ledger is away')
      },
    })
    t.match((await go({ hosts, spec: wanted('fails', 2), commands: refused })).thrown, {
      message: 'the ledger is away',
    })
    t.same(await seen(hosts, 'fails'), ['host-a: 1', 'host-b: 1'])
  })

  await t.test('after a failure at the end on-failure decides', async (t) => {
    await go({ hosts, spec: wanted('end', 1) })
    const after = commands({ after: run(4, 'broke') })
    const restored = await fail({ hosts, spec: wanted('end', 2), commands: after })
    t.match(restored.error.message, /^host host-a: after ended with exit code 4\n/)
    t.same(await seen(hosts, 'end'), ['host-a: 1', 'host-b: 1'])
    const strategy = { onFailure: 'stop' } as const
    const kept = await fail({ hosts, spec: wanted('end', 2), commands: after, strategy })
    t.match(kept.error.standings, [
      { serves: 'new', error: undefined },
      { serves: 'new', error: undefined },
    ])
    t.match(await seen(hosts, 'end'), ['host-a: 1.previous down, 2', 'host-b: 1.previous down, 2'])
  })

  await t.test('a command is killed after its time and by a cancel', async (t) => {
    const before = run(0, 'sleeps', 600)
    const late = commands({ before, timeout: 300 })
    t.match((await go({ hosts, spec: wanted('long', 1), commands: late })).thrown, {
      code: 'COMMAND_FAILED',
      message: /^host host-a: before did not end within 0\.3 s, and was killed/,
    })
    const stop = new AbortController()
    const { thrown } = await go({
      ...{ hosts, spec: wanted('long', 1), commands: commands({ before }), signal: stop.signal },
      onText: (text) => text.includes('command sleeps') && stop.abort(),
    })
    t.match(thrown, { code: 'CANCELLED' })
    t.same(await seen(hosts, 'long'), ['host-a: ', 'host-b: '])
  })

  await t.test('what a killed deployer left of a command is removed, if it is ours', async (t) => {
    const left = await first.create({ ...wanted('left.before', 1), command: run(0, 'x', 600) })
    await first.start(left.id)
    const { thrown, text } = await go({ hosts, spec: wanted('left', 1) })
    t.equal(thrown, undefined)
    t.match(text, /warning: host host-a: .* its command before was at work; it still ran, and was/)
    t.equal(await first.inspect('left.before'), undefined)
    const foreign = await first.create({ ...wanted('left.after', 1), labels: {} })
    const own = wanted('left', 2)
    const refused = await go({ hosts, spec: own, ownerLabels: ['test.name'] })
    t.match(refused.thrown, { code: 'CONFLICT', message: /left\.after was not put there by/ })
    t.equal((await first.inspect('left.after'))?.id, foreign.id)
    await first.remove(foreign.id)
  })
}
