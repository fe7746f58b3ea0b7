import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { time } from '../measure.ts'
import { startLoad } from './load.ts'
import { lossesOf } from './losses.ts'
import { PORTS, type Project } from './project.ts'
import { nginxArgs, nginxConfiguration, startProxy } from './proxies.ts'

const NAME = 'orders-in-swarm'
const NETWORK = 'orders-overlay'
/** A container that only has a place in the overlay, for the proxy. */
const GATE = 'orders-gate'

/**
 * A service that is updated with `--update-order start-first`, behind an nginx in its overlay that
 * asks Docker's DNS for the tasks. The service's health check connects to Tomcat's port.
 */
export async function measureSwarm(project: Project) {
  const { host, images, counts, sessions } = project
  const { docker } = host
  const [first = '', second = ''] = images
  await docker('swarm', 'init', '--advertise-addr', host.address)
  try {
    await docker('network', 'create', '--driver', 'overlay', '--attachable', NETWORK)
    await docker(
      ...['service', 'create', '--quiet', '--name', NAME, '--network', NETWORK],
      ...[
        '--endpoint-mode',
        'dnsrr',
        '--update-order',
        'start-first',
        '--stop-grace-period',
        '40s',
      ],
      ...['--mount', `type=bind,source=${counts},target=/counts`],
      ...['--mount', `type=bind,source=${sessions},target=/sessions`],
      ...['--health-cmd', "bash -c '</dev/tcp/127.0.0.1/8080'", '--health-interval', '1s'],
      ...['--health-retries', '60', first],
    )
    const proxy = await startGate(project)
    try {
      const load = await startLoad(`swarm-${Date.now()}`, proxy)
      await sleep(3000)
      const took = await time(() => docker('service', 'update', '--quiet', '--image', second, NAME))
      await sleep(3000)
      await load.stop()
      return { took, ...(await lossesOf(load, counts)) }
    } finally {
      await proxy.stop()
    }
  } finally {
    await docker('service', 'rm', NAME).catch(() => {})
    await docker('rm', '--force', GATE).catch(() => {})
    await docker('swarm', 'leave', '--force')
  }
}

async function startGate({ host, images }: Project) {
  const { docker, address } = host
  const publish = `${address}:${PORTS.swarm}:80`
  const sleeping = ['--entrypoint', 'sleep', images[0] ?? '', 'infinity']
  const place = ['--network', NETWORK, '--publish', publish]
  await docker('run', '--detach', '--name', GATE, ...place, ...sleeping)
  const pid = await docker('inspect', '--format', '{{.State.Pid}}', GATE)
  const http = [
    'server { listen 80 backlog=4096;',
    'resolver 127.0.0.11 valid=1s;',
    `location / { set $service ${NAME};`,
    'proxy_pass http://$service:8080;',
    'proxy_connect_timeout 1s;',
    'proxy_next_upstream error timeout;',
    '} }',
  ]
  const stop = await startProxy({
    program: 'nsenter',
    configuration: (folder) => nginxConfiguration(folder, http),
    args: (folder, file) => ['--target', pid, '--net', 'nginx', ...nginxArgs(folder, file)],
    async ready() {
      const socket = connect(PORTS.swarm, address)
      await once(socket, 'connect').finally(() => socket.destroy())
    },
  })
  return { host: address, port: PORTS.swarm, stop }
}
