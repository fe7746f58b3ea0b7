import t from 'tap'
import { createSecrets } from '../../../src/core/secrets.ts'
import { resolveEnvironment } from '../../../src/settings.ts'
import { hostAccess, wantedAccess } from '../../../src/targets/docker/container/host-access.ts'
import { resolveContainer } from '../../../src/targets/docker/container/resolve.ts'
import { containerOptions } from '../../../src/targets/docker/container-options.ts'
import { refuseFilesOnVolumes } from '../../../src/targets/docker/placed-files.ts'
import { containerSettings } from '../../../src/targets/docker/settings.ts'
import { parseSettings } from '../../support/data/settings.ts'
import { settings } from './host-conformance.ts'

/** Settings of one environment, from the text of `container:`, and of its own `container:`. */
async function settingsOf(common: string, own = '{}') {
  const text = `app: a\ncontainer: ${common}\nenvironments:\n  test: { image: r.io/a, container: ${own} }`
  const data = await parseSettings(text, 'crosscloud.yml', {}, createSecrets())
  const settings = { ...data, file: 'crosscloud.yml', folder: '.', variables: [] }
  return resolveEnvironment(settings, 'test').container
}

async function problemsOf(common: string, own?: string): Promise<string> {
  const error = await settingsOf(common, own).then(
    () => new Error(`accepted: ${common} ${own}`),
    (thrown: Error) => thrown,
  )
  return error.message
}

const ALL = `{
  networks: [front, back], extra-hosts: ["db:10.0.0.5", "v6:[fd00::1]", "me:host-gateway"],
  dns: [10.0.0.2], hostname: web, cpus: 1.5, memory: 512m, memory-swap: 1g, shm-size: 128m,
  ulimits: { nofile: 65536, nproc: { soft: 1024, hard: -1 } }, user: "1000:1000", read-only: true,
  tmpfs: ["/tmp", "/run:size=64m,mode=1777"], devices: ["/dev/fuse", "/dev/a:/dev/b:r"],
  cap-add: [CAP_NET_ADMIN], cap-drop: [ALL], init: true, stop-signal: SIGQUIT,
  logging: { driver: json-file, options: { max-size: 10m, max-file: 3 } },
  labels: { team: web, tier: 2 }, sysctls: { net.core.somaxconn: 1024 }
}`

t.test('settings reach the engine under the names that docker and Compose give them', async (t) => {
  const settings = await settingsOf(ALL)
  const labels = { 'io.crosscloud.application': 'a' }
  const options = containerOptions({ name: 'a', image: 'i', labels, settings, files: [] })
  t.match(options, {
    Hostname: 'web',
    User: '1000:1000',
    StopSignal: 'SIGQUIT',
    Labels: { team: 'web', tier: '2', 'io.crosscloud.application': 'a' },
    HostConfig: {
      NetworkMode: 'front',
      ExtraHosts: ['db:10.0.0.5', 'v6:fd00::1', 'me:host-gateway'],
      Dns: ['10.0.0.2'],
      NanoCpus: 1_500_000_000,
      Memory: 512 * 2 ** 20,
      MemorySwap: 2 ** 30,
      ShmSize: 128 * 2 ** 20,
      Ulimits: [
        { Name: 'nofile', Soft: 65536, Hard: 65536 },
        { Name: 'nproc', Soft: 1024, Hard: -1 },
      ],
      ReadonlyRootfs: true,
      Tmpfs: { '/tmp': '', '/run': 'size=64m,mode=1777' },
      Devices: [
        { PathOnHost: '/dev/fuse', PathInContainer: '/dev/fuse', CgroupPermissions: 'rwm' },
        { PathOnHost: '/dev/a', PathInContainer: '/dev/b', CgroupPermissions: 'r' },
      ],
      CapAdd: ['NET_ADMIN'],
      CapDrop: ['ALL'],
      Init: true,
      LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
      Sysctls: { 'net.core.somaxconn': '1024' },
    },
  })
  t.same(settings.moreNetworks, ['back'])
  const plain = containerOptions({
    name: 'a',
    image: 'i',
    labels: {},
    settings: resolveContainer(undefined, undefined),
    files: [],
  })
  const { HostConfig = {}, ...others } = plain
  t.same(Object.keys(HostConfig), ['NetworkMode', 'PortBindings', 'Binds', 'RestartPolicy'])
  t.same(Object.keys(others), ['name', 'Image', 'Labels', 'Env', 'StopTimeout', 'ExposedPorts'])
})

t.test('a setting that is not one is reported at its line, with what was meant', async (t) => {
  const table: [written: string, problem: RegExp][] = [
    ['{ memroy: 1g }', /:2 container\.memroy is not a known setting: did you mean memory\?/],
    ['{ capp-add: [ALL] }', /container\.capp-add is not .*mean cap-add\?/],
    ['{ logging: { drivr: none } }', /container\.logging\.drivr is not .*mean driver\?/],
    ['{ ulimits: { nofiles: 1 } }', /container\.ulimits\.nofiles is not a limit.*mean nofile\?/],
    [
      '{ ulimits: { nofile: { soft: 1, hart: 2 } } }',
      /ulimits\.nofile\.hart is not a known.*hard\?/,
    ],
    ['{ ulimits: { nofile: { soft: 2, hard: 1 } } }', /ulimits\.nofile its soft limit is above/],
    ['{ privileged: true }', /container\.privileged is not a known setting$/],
    ['{ cpus: 0 }', /container\.cpus is less than 0\.01/],
    ['{ cpus: many }', /container\.cpus .*not a number/],
    ['{ memory-swap: lots }', /container\.memory-swap/],
    ['{ extra-hosts: ["db"] }', /extra-hosts\.0 "db" is not a host name and its address/],
    ['{ extra-hosts: ["db:nowhere"] }', /extra-hosts\.0 "db:nowhere" is not/],
    ['{ dns: [ns1] }', /container\.dns\.0 is not an IP address/],
    ['{ tmpfs: [tmp] }', /container\.tmpfs\.0 "tmp" is not a folder in memory/],
    ['{ devices: [fuse] }', /container\.devices\.0 "fuse" is not a device/],
    ['{ cap-add: [net-admin] }', /container\.cap-add\.0 is not a capability/],
    ['{ stop-signal: term }', /container\.stop-signal is not a signal/],
    ['{ user: "a b" }', /container\.user is not a user/],
    ['{ hostname: "a_b" }', /container\.hostname is not a host name/],
    ['{ labels: { io.crosscloud.lock: x } }', /labels\.io\.crosscloud\.lock is a label that only/],
    ['{ sysctls: { vm.swappiness: 1 } }', /sysctls\.vm\.swappiness is not a setting of the kernel/],
    ['{ networks: [] }', /container\.networks is empty/],
    ['{ memory: 5m }', /:2 container\.memory is less than 6m, the least that Docker takes/],
    ['{ memory: 0m }', /container\.memory is less than 6m/],
    ['{ memory: 9999999999g }', /container\.memory is too large/],
    ['{ shm-size: 0m }', /container\.shm-size is 0; leave it out/],
    ['{ cpus: -1 }', /container\.cpus is less than 0\.01/],
    ['{ stop-timeout: 30d }', /container\.stop-timeout is more than 7d/],
    ['{ health: { tcp: ":80", timeout: 30d } }', /container\.health\.timeout is more than 7d/],
    ['{ cap-add: [NET_ADMINS] }', /cap-add\.0 is not a capability: did you mean NET_ADMIN\?/],
    ['{ stop-signal: SIGTREM }', /container\.stop-signal is not a signal: did you mean TERM\?/],
    ['{ stop-signal: "0" }', /container\.stop-signal is not a signal/],
    ['{ tmpfs: ["/tmp:size=64m,nosiud"] }', /tmpfs\.0 .*has the option "nosiud"/],
    ['{ tmpfs: ["/tmp:size=abc"] }', /tmpfs\.0 .*has the option "size=abc"/],
    ['{ volumes: ["./data:/data"] }', /volumes\.0 "\.\/data:\/data" is not a volume/],
    ['{ env: { "A=B": c } }', /container\.env\.A=B is not the name of a variable/],
    [
      '{ slots: [{ ports: ["1:8080"], env: { "": c } }, "2:8080"] }',
      /container\.slots\.0\.env\. is not the name of a variable/,
    ],
  ]
  for (const [written, problem] of table) t.match(await problemsOf(written), problem, written)
})

t.test('what Docker takes is taken', async (t) => {
  for (const written of [
    '{ memory: 6m, shm-size: 1b, stop-timeout: 0s, cpus: 0.01 }',
    '{ cap-add: [CAP_BPF], cap-drop: [ALL], stop-signal: SIGRTMIN+3 }',
    '{ stop-signal: "64", volumes: ["data:/data", "/srv/a b:/b:ro"] }',
    '{ tmpfs: ["/a:rw,noexec,nosuid,size=10%", "/b:mode=1777,uid=1000,gid=7,nr_inodes=4k"] }',
    '{ env: { "spring.profiles.active": prod, EMPTY: "" } }',
  ]) {
    await t.resolves(settingsOf(written), written)
  }
})

t.test('settings that do not go together are refused, also across environments', async (t) => {
  const table: [common: string, own: string, problem: RegExp][] = [
    ['{ network: host, ports: ["80:80"] }', '{}', /:2 container\.ports are not published with/],
    [
      '{ network: host }',
      '{ ports: ["80:80"] }',
      /:4 environments\.test\.container\.ports are not/,
    ],
    ['{ network: none, ports: ["80:80"] }', '{}', /not published with network: none/],
    ['{ ports: ["80:80", "80:81", "80:80/udp"] }', '{}', /container\.ports publish 80\/tcp twice/],
    ['{ network: a, networks: [b, c] }', '{}', /container\.networks stands beside network/],
    ['{ networks: [b, host] }', '{}', /container\.networks has host, which is alone/],
    ['{ networks: [b, b] }', '{}', /names a network twice/],
    ['{ memory: 20m, memory-swap: 10m }', '{}', /container\.memory-swap .*less than memory/],
    ['{ memory-swap: 1g }', '{}', /container\.memory-swap needs memory/],
    ['{ memory: 1g, memory-swap: 1g }', '{ memory: 2g }', /:2 container\.memory-swap .*less than/],
    ['{ network: host, sysctls: { net.core.somaxconn: 1 } }', '{}', /sysctls has net\.core/],
    ['{ network: "container:x", hostname: a }', '{}', /hostname is that of the other container/],
    ['{ volumes: ["/a:/b"], tmpfs: ["/b/"] }', '{}', /container\.tmpfs \/b is mounted twice/],
    ['{ volumes: ["/a:/"] }', '{}', /container\.volumes has \/, which nothing is mounted at/],
    ['{ cap-add: [KILL], cap-drop: [KILL] }', '{}', /container\.cap-add KILL is in cap-drop/],
  ]
  for (const [common, own, problem] of table) {
    t.match(await problemsOf(common, own), problem, `${common} ${own}`)
  }
  const words = containerSettings.parse({ network: 'host', ports: ['80:80'] })
  t.throws(() => resolveContainer(words, undefined), { code: 'INPUT_INVALID', message: /ports/ })
})

t.test('an environment with another network leaves what belongs to the common one', async (t) => {
  t.match(await settingsOf('{ ports: ["80:80"] }', '{ network: host }'), {
    network: 'host',
    ports: [],
  })
  t.match(await settingsOf('{ networks: [a, b] }', '{ network: c }'), {
    network: 'c',
    moreNetworks: [],
  })
  t.match(await settingsOf('{ network: c }', '{ networks: [a, b] }'), {
    network: 'a',
    moreNetworks: ['b'],
  })
  t.match(await settingsOf('{ memory: 1g }', '{ memory-swap: -1 }'), { memorySwap: -1 })
  t.match(await settingsOf('{ memory: 1g }', '{ memory-swap: "-1" }'), { memorySwap: -1 })
})

t.test('files that a container would not see are refused', async (t) => {
  const file = { path: '/run/app/x.conf', content: Buffer.from(''), mode: 0o644, uid: 0, gid: 0 }
  const inMemory = await settingsOf('{ tmpfs: ["/run/:size=1m"], on-volume: true }')
  t.throws(() => refuseFilesOnVolumes([file], inMemory), {
    code: 'INPUT_INVALID',
    message: /^\/run\/app\/x\.conf is in a folder of container\.tmpfs/,
  })
  refuseFilesOnVolumes([{ ...file, path: '/running' }], inMemory)
  const readOnly = await settingsOf('{ read-only: true }')
  t.throws(() => refuseFilesOnVolumes([file], readOnly), { message: /container\.read-only/ })
  refuseFilesOnVolumes([], readOnly)
})

t.test('what gives a container power over its host is told in words', async (t) => {
  const wanted = (written: object) => wantedAccess({ ...settings, ...written })
  t.strictSame(wanted({}), [])
  t.strictSame(
    wanted({
      network: 'host',
      user: 'root:root',
      volumes: [
        { source: '/', path: '/host', access: undefined },
        { source: '/var/run/docker.sock', path: '/sock', access: 'rw' },
        { source: '/srv/a\nb', path: '/b', access: 'ro' },
        { source: 'named', path: '/named', access: undefined },
      ],
      devices: [{ source: '/dev/mem', path: '/dev/mem', access: 'rwm' }],
      capAdd: ['ALL'],
    }),
    [
      'mounts / of the host at /host',
      'commands the container engine by /var/run/docker.sock',
      'mounts /srv/a b of the host at /b, read-only',
      'has the capability ALL',
      'uses the device /dev/mem of the host',
      'runs as root by its settings',
      'shares the network of the host',
    ],
  )
  const found = hostAccess({
    Config: { User: '1000' },
    HostConfig: {
      Binds: ['/srv:/srv:rw'],
      Mounts: [{ Type: 'bind', Source: '/etc', Target: '/e', ReadOnly: true }],
      Privileged: true,
      CapAdd: ['CAP_SYS_ADMIN'],
      PidMode: 'host',
      IpcMode: 'private',
      SecurityOpt: ['seccomp=unconfined'],
    },
  })
  t.strictSame(found, [
    'mounts /srv of the host at /srv',
    'mounts /etc of the host at /e, read-only',
    'is privileged',
    'has the capability SYS_ADMIN',
    'shares the processes of the host',
    'has the security option seccomp=unconfined',
  ])
})
