import t from 'tap'
import { parseAddress } from '../../../src/targets/docker/address.ts'
import { addressOf } from '../../../src/targets/docker/container-options.ts'
import { parseHealth, parsePort, parseVolume } from '../../../src/targets/docker/notation.ts'
import { checkFiles, parentFolders } from '../../../src/targets/docker/placed-files.ts'
import { commandOf, decide } from '../../../src/targets/docker/rollout/repair.ts'
import { restoreActions } from '../../../src/targets/docker/rollout/restore-host.ts'
import { type Action, type Found, roles } from '../../../src/targets/docker/rollout/roles.ts'
import { decideInSlots, restoreInSlots } from '../../../src/targets/docker/rollout/slots/repair.ts'
import { SLOT_LABEL } from '../../../src/targets/slot.ts'
import { type Fake, now, state } from './states.ts'

function show(found: Found<Fake>): string {
  return roles
    .flatMap((role) => {
      const container = found[role]
      return container ? `${role}=${container.id}:${container.running ? 'up' : 'down'}` : []
    })
    .join(' ')
}

/** Takes the actions as an engine would, which refuses a name that is taken. */
function apply(found: Found<Fake>, actions: readonly Action[]): Found<Fake> {
  const after: Found<Fake> = structuredClone(found)
  for (const action of actions) {
    const container = after[action.container]
    if (!container) throw new Error(`${action.do} of ${action.container}, which is not there`)
    if (action.do === 'start') container.running = true
    if (action.do === 'stop') container.running = false
    if (action.do === 'remove') delete after[action.container]
    if (action.do === 'rename') {
      if (after[action.to]) throw new Error(`${action.to} is taken`)
      delete after[action.container]
      after[action.to] = container
    }
  }
  return after
}

function everyState(): Found<Fake>[] {
  let states: string[] = ['']
  for (const role of roles) {
    states = states.flatMap((text) => [text, `${text} ${role}:up`, `${text} ${role}:down`])
  }
  return states.map(state)
}

t.test('every state that a killed deployer can leave is repaired', async (t) => {
  const table: [when: string, before: string, after: string | undefined][] = [
    ['nothing there', '', undefined],
    ['all is well', 'current:up previous:down', undefined],
    ['somebody stopped it', 'current:down previous:down', undefined],
    ['killed after create', 'current:up next:down', 'current=current:up'],
    [
      'killed after stop',
      'current:down next:down previous:down',
      'current=current:up previous=previous:down',
    ],
    ['killed before it was verified', 'current:down next:up', 'current=current:up'],
    [
      'killed after previous became older',
      'current:down next:up older:down',
      'current=current:up previous=older:down',
    ],
    [
      'killed between the renames',
      'next:up previous:down older:down',
      'current=next:up previous=previous:down',
    ],
    [
      'and the host was rebooted',
      'next:down previous:down',
      'current=next:up previous=previous:down',
    ],
    [
      'killed on a later host',
      'current:up previous:down older:down',
      'current=current:up previous=previous:down',
    ],
    ['killed in the first deployment', 'next:up', ''],
    [
      'killed while it went back',
      'current:down next:down older:down',
      'current=current:up previous=older:down',
    ],
    ['only the previous one', 'previous:down', 'current=previous:up'],
    ['only older ones', 'previous:down older:down', 'current=previous:up previous=older:down'],
    ['only the oldest', 'older:down', 'current=older:up'],
    ['the old one was put back by hand', 'next:down previous:up', 'current=previous:up'],
  ]
  for (const [when, before, after] of table) {
    const found = state(before)
    const finding = decide(found)
    t.equal(finding && show(apply(found, finding.actions)), after, when)
  }
})

t.test('a container between two restarts is stopped before another gets its port', async (t) => {
  const next = { running: false, restarts: 2 }
  for (const old of [{ current: { running: false } }, { previous: { running: true } }]) {
    const actions = decide({ ...old, next })?.actions
    t.match(actions, [{ do: 'stop', container: 'next' }], Object.keys(old).join())
  }
})

t.test('any state is repaired at once, and stays so', async (t) => {
  for (const found of everyState()) {
    const actions = decide(found)?.actions ?? []
    const after = apply(found, actions)
    const ok =
      !after.next &&
      !after.older &&
      Boolean(after.current) === Boolean(found.current || found.previous || found.older) &&
      (actions.length === 0 || !after.current || after.current.running) &&
      decide(after) === undefined
    if (!ok) t.fail(`${show(found)} became ${show(after)}`)
    // Killed again while mending: the next run still comes to an end that serves.
    for (let done = 1; done < actions.length; done++) {
      const half = apply(found, actions.slice(0, done))
      const again = apply(half, decide(half)?.actions ?? [])
      if (again.current?.running !== after.current?.running || again.next || again.older) {
        t.fail(`${show(found)} after ${done} actions became ${show(again)}`)
      }
    }
  }
  t.pass('all states')
})

t.test('the old container is restored from wherever a rollout stopped', async (t) => {
  const up = { id: 'old', running: true }
  const table: [before: string, old: Fake | undefined, after: string][] = [
    ['current=old=up next=new=down', up, 'current=old:up'],
    ['current=old=down next=new=up previous=p=down', up, 'current=old:up previous=p:down'],
    ['current=old=down next=new=up older=p=down', up, 'current=old:up previous=p:down'],
    ['next=new=up previous=old=down older=p=down', up, 'current=old:up previous=p:down'],
    ['current=new=up previous=old=down older=p=down', up, 'current=old:up previous=p:down'],
    ['current=new=up previous=old=down', up, 'current=old:up'],
    ['current=new=up', undefined, ''],
    ['next=new=up', undefined, ''],
    ['current=new=up previous=old=down', { id: 'old', running: false }, 'current=old:down'],
    ['current=other=up previous=q=down', up, 'current=other:up previous=q:down'],
  ]
  for (const [before, old, after] of table) {
    const found = now(before)
    const actions = restoreActions(found, 'new', old)
    t.equal(show(apply(found, actions)), after, before)
    for (let done = 1; done < actions.length; done++) {
      const half = apply(found, actions.slice(0, done))
      const repaired = apply(half, decide(half)?.actions ?? [])
      t.ok(repaired.current?.running || !old?.running, `${before}, killed after ${done} actions`)
    }
  }
})

t.test('every state in slots is repaired without a moment in which nothing runs', async (t) => {
  const runs = (found: Found<Fake>) => Object.values(found).some(({ running }) => running)
  for (const found of everyState()) {
    const actions = decideInSlots(found)?.actions ?? []
    const after = apply(found, actions)
    const hasMain = Boolean(found.current || found.previous || found.older)
    const ok =
      !after.next &&
      !after.older &&
      Boolean(after.current) === hasMain &&
      (actions.length === 0 || !after.current || after.current.running) &&
      decideInSlots(after) === undefined
    if (!ok) t.fail(`${show(found)} became ${show(after)}`)
    for (let done = 1; done <= actions.length; done++) {
      const half = apply(found, actions.slice(0, done))
      if (hasMain && runs(found) && !runs(half)) {
        t.fail(`${show(found)} after ${done} actions: nothing runs: ${show(half)}`)
      }
      const again = apply(half, decideInSlots(half)?.actions ?? [])
      if (again.current?.running !== after.current?.running || again.next || again.older) {
        t.fail(`${show(found)} after ${done} actions became ${show(again)}`)
      }
    }
  }
  t.pass('all states')
})

t.test('in slots a killed deployment is finished, or its old container stays', async (t) => {
  const table: [when: string, before: string, after: string | undefined][] = [
    ['all is well', 'current:up previous:down', undefined],
    ['somebody stopped it', 'current:down previous:down', undefined],
    ['somebody went back by hand', 'current:down previous:up', undefined],
    ['killed before it was verified', 'current:up next:up', 'current=current:up'],
    [
      'killed between the renames',
      'next:up previous:up older:down',
      'current=next:up previous=previous:down',
    ],
    [
      'killed before the stop',
      'current:up previous:up',
      'current=current:up previous=previous:down',
    ],
    ['killed while it went back', 'current:down next:up', 'current=current:up'],
    ['killed between the renames back', 'next:up previous:down', 'current=previous:up'],
  ]
  for (const [when, before, after] of table) {
    const found = state(before)
    const finding = decideInSlots(found)
    t.equal(finding && show(apply(found, finding.actions)), after, when)
  }
  // The old one may have been started a moment ago, while the new one serves.
  const [first] = decideInSlots(state('current:up next:up'))?.actions ?? []
  t.same(first, { do: 'await', container: 'current' })
})

t.test('in slots the new container stays until the old one serves again', async (t) => {
  const old = { id: 'old', running: true }
  const table: [before: string, started: boolean][] = [
    ['current=old=up next=new=down', false],
    ['current=old=up next=new=up older=p=down', false],
    ['next=new=up previous=old=up older=p=down', false],
    ['current=new=up previous=old=up', false],
    ['current=new=up previous=old=down older=p=down', true],
  ]
  for (const [before, started] of table) {
    const found = now(before)
    const actions = restoreInSlots(found, 'new', old)
    const half = apply(found, actions)
    t.equal(half.current?.id, 'old', before)
    t.ok(half.current?.running)
    t.equal(Boolean(half.next), started, 'the new one is there where the old one has to start')
    const after = apply(half, decideInSlots(half)?.actions ?? [])
    t.match(show(after), /^current=old:up( previous=p:down)?$/)
  }
})

t.test('every action has its docker command', async (t) => {
  t.equal(
    commandOf('web', { do: 'rename', container: 'previous', to: 'current' }),
    'docker rename web.previous web',
  )
  t.equal(commandOf('web', { do: 'remove', container: 'next' }), 'docker rm --force web.next')
  t.equal(commandOf('web', { do: 'start', container: 'current' }), 'docker start web')
})

t.test('addresses of engines are unix, tcp or ssh; any other is refused', async (t) => {
  const table: [text: string, expected: object | undefined][] = [
    ['unix:///var/run/docker.sock', { kind: 'unix', socket: '/var/run/docker.sock' }],
    ['tcp://app-01:2376', { kind: 'tcp', host: 'app-01', port: 2376 }],
    ['tcp://[::1]:2376', { kind: 'tcp', host: '::1', port: 2376 }],
    ['tcp://10.0.0.1', { kind: 'tcp', host: '10.0.0.1', port: undefined }],
    ['ssh://deploy@app-01', { kind: 'ssh', host: 'app-01', port: undefined, user: 'deploy' }],
    ['ssh://app-01:2222/', { kind: 'ssh', host: 'app-01', port: 2222, user: undefined }],
    ['ssh://-oProxyCommand=x', undefined],
    ['ssh://-l@host', undefined],
    ['ssh://user:password@host', undefined],
    ['tcp://user@host:2376', undefined],
    ['tcp://host:70000', undefined],
    ['unix://relative', undefined],
    [`unix:///${'a'.repeat(106)}`, { kind: 'unix', socket: `/${'a'.repeat(106)}` }],
    [`unix:///${'a'.repeat(107)}`, undefined],
    ['http://host', undefined],
    ['', undefined],
  ]
  for (const [text, expected] of table) {
    if (expected) t.match(parseAddress(text), expected, text)
    else t.throws(() => parseAddress(text), { code: 'INPUT_INVALID' }, text)
  }
})

t.test('ports, volumes and health checks are read in the notation of docker', async (t) => {
  const table: [text: string, expected: [string, string, string] | undefined][] = [
    ['8080', ['8080/tcp', '', '']],
    ['80:8080', ['8080/tcp', '', '80']],
    ['127.0.0.1:80:8080', ['8080/tcp', '127.0.0.1', '80']],
    ['127.0.0.1::8080', ['8080/tcp', '127.0.0.1', '']],
    ['[::1]:80:8080/udp', ['8080/udp', '::1', '80']],
    ['80-90:80-90', undefined],
    ['127.1:80:8080', undefined],
    ['127.0.0.1.:80:8080', undefined],
    ['127.0.0.256:80:8080', undefined],
    ['010.0.0.1:80:8080', undefined],
    ['[:1]:80:8080', undefined],
    ['[127.0.0.1]:80:8080', undefined],
    ['0:99999', undefined],
    ['a:b', undefined],
    ['', undefined],
  ]
  for (const [text, expected] of table) {
    if (!expected) t.throws(() => parsePort(text), { code: 'INPUT_INVALID' }, text)
    else {
      const [container, hostIp, hostPort] = expected
      t.same(parsePort(text), { container, hostIp, hostPort }, text)
    }
  }
  t.same(parseVolume('/on/host:/in/it:ro'), { source: '/on/host', path: '/in/it', access: 'ro' })
  t.same(parseVolume('data:/in/it'), { source: 'data', path: '/in/it', access: undefined })
  for (const wrong of ['/data', ':/x', 'a:b', 'a:/b:rx', 'a:/b:ro:z'])
    t.throws(() => parseVolume(wrong), { code: 'INPUT_INVALID' }, wrong)
  t.same(parseHealth(':8080/healthz'), { port: 8080, path: '/healthz' })
  for (const wrong of ['8080/x', ':0/x', ':8080', 'http://x:1/'])
    t.throws(() => parseHealth(wrong), { code: 'INPUT_INVALID' }, wrong)
})

t.test('a container is reached by its published port, its host or its own address', async (t) => {
  const local = { local: true, hostAddress: '127.0.0.1' }
  const remote = { local: false, hostAddress: 'app-01' }
  const facts = (HostIp: string) => ({
    Config: { Labels: {} },
    HostConfig: { NetworkMode: 'bridge' },
    NetworkSettings: {
      Ports: { '8080/tcp': [{ HostIp, HostPort: '32768' }], '9090/tcp': null },
      Networks: { bridge: { IPAddress: '172.17.0.2' } },
    },
  })
  t.equal(addressOf(facts('0.0.0.0'), 8080, local), 'http://127.0.0.1:32768')
  t.equal(addressOf(facts('0.0.0.0'), 8080, remote), 'http://app-01:32768')
  t.equal(addressOf(facts('10.1.1.1'), 8080, remote), 'http://10.1.1.1:32768')
  t.equal(addressOf(facts('::1'), 8080, local), 'http://[::1]:32768')
  t.equal(addressOf(facts('127.0.0.1'), 8080, remote), undefined, "the host's own loopback")
  t.equal(addressOf(facts('0.0.0.0'), 9090, local), 'http://172.17.0.2:9090')
  t.equal(addressOf(facts('0.0.0.0'), 9090, remote), undefined)
  const onHost = {
    Config: { Labels: {} },
    HostConfig: { NetworkMode: 'host' },
    NetworkSettings: {},
  }
  t.equal(addressOf(onHost, 8080, remote), 'http://app-01:8080')
  const slot = JSON.stringify({ slot: 2, ports: [['8080/tcp', '18082']] })
  const inSlot = { ...onHost, Config: { Labels: { [SLOT_LABEL]: slot } } }
  t.equal(addressOf(inSlot, 8080, remote), 'http://app-01:18082', 'in a slot it listens there')
  for (const ports of [
    '"x"',
    '[["8080/tcp","@evil"]]',
    '[["8080/tcp","70000"]]',
    '[[1]]',
    'null',
  ]) {
    const forged = { [SLOT_LABEL]: `{"slot":2,"ports":${ports}}` }
    const found = addressOf({ ...onHost, Config: { Labels: forged } }, 8080, remote)
    t.equal(found, 'http://app-01:8080', ports)
  }
})

t.test('files with an unsafe path, mode or owner are refused', async (t) => {
  const file = (path: string) => ({ path, content: Buffer.from(''), mode: 0o644, uid: 0, gid: 0 })
  t.same(parentFolders([file('/a/b/c'), file('/a/d'), file('/e')]), ['/a', '/a/b'])
  checkFiles([file('/a/..b'), file('/a/b..')])
  t.throws(() => checkFiles([file('/a'), file('/a')]), { code: 'INPUT_INVALID', message: /twice/ })
  for (const wrong of [{ mode: 0o10000 }, { mode: 1.5 }, { uid: -1 }, { gid: Number.NaN }])
    t.throws(() => checkFiles([{ ...file('/a'), ...wrong }]), { code: 'INPUT_INVALID' })
})
