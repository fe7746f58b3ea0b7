import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { run } from '../../../src/core/process/process.ts'
import { makeCertificates } from '../data/certificates.ts'
import { freePort } from './ports.ts'
import { type RunningServer, serverFolder, startServer } from './server.ts'

export interface TestRedis {
  port: number
  folder: string
  server: RunningServer
  /** redis-cli with these arguments, as the administrator. */
  cli(...args: string[]): Promise<string>
}

export const REDIS_PASSWORD = 'p@ss:word/1'
/** May read and change keys of config, and nothing else. */
export const REDIS_USER = { name: 'deployer', password: 'depl%oyer' }

/** A server of its own on 127.0.0.1, ended with the test. */
export async function startRedis(
  t: Pick<Test, 'teardown'>,
  options: { flags?: readonly string[]; tls?: boolean } = {},
): Promise<TestRedis> {
  const { folder, remove } = await serverFolder('redis')
  t.teardown(remove)
  const port = await freePort()
  const file = (name: string) => join(folder, 'tls', name)
  if (options.tls) await makeCertificates(join(folder, 'tls'))
  const acl = join(folder, 'users.acl')
  const user = `user ${REDIS_USER.name} on >${REDIS_USER.password} ~/* ~{crosscloud}:* +@read +@write +@transaction +@connection +@scripting +info +cluster -flushall`
  await writeFile(acl, `user default on >${REDIS_PASSWORD} ~* &* +@all\n${user}\n`)
  const flags = options.tls
    ? [
        ...['--port', '0', '--tls-port', `${port}`, '--tls-auth-clients', 'no', '--aclfile', acl],
        ...['--tls-cert-file', file('server.pem'), '--tls-key-file', file('server-key.pem')],
        ...['--tls-ca-cert-file', file('ca.pem')],
      ]
    : ['--port', `${port}`]
  const client = options.tls
    ? ['--tls', '--cacert', file('ca.pem'), '--no-auth-warning', '-a', REDIS_PASSWORD]
    : []
  const cli = async (...args: string[]) =>
    (await run('redis-cli', ['-p', `${port}`, ...client, ...args])).stdout
  const server = await startServer(
    'redis-server',
    [
      ...['--bind', '127.0.0.1', '--save', '', '--dir', folder],
      ...['--unixsocket', join(folder, 's'), ...flags, ...(options.flags ?? [])],
    ],
    {
      ready: async () => {
        if ((await cli('ping')) !== 'PONG') throw new Error('no response')
      },
    },
  )
  t.teardown(() => server.stop('SIGKILL'))
  return { port, folder, server, cli }
}

/** One master, one replica and one Sentinel that names another master a second after it died. */
export async function startSentinel(
  t: Pick<Test, 'teardown'>,
  { flags = [] }: { flags?: readonly string[] } = {},
) {
  const master = await startRedis(t, { flags })
  const replica = await startRedis(t, {
    flags: [
      ...flags,
      '--replicaof',
      '127.0.0.1',
      `${master.port}`,
      '--repl-diskless-sync-delay',
      '0',
    ],
  })
  const { folder, remove } = await serverFolder('sentinel')
  t.teardown(remove)
  const port = await freePort()
  const config = [
    `port ${port}`,
    'bind 127.0.0.1',
    `sentinel monitor mymaster 127.0.0.1 ${master.port} 1`,
    'sentinel down-after-milliseconds mymaster 500',
    'sentinel failover-timeout mymaster 3000',
  ]
  await writeFile(join(folder, 'sentinel.conf'), `${config.join('\n')}\n`)
  const server = await startServer('redis-server', [join(folder, 'sentinel.conf'), '--sentinel'], {
    ready: async () => {
      const { stdout } = await run('redis-cli', [
        '-p',
        `${port}`,
        'sentinel',
        'replicas',
        'mymaster',
      ])
      if (
        !stdout.includes(`${replica.port}`) ||
        !(await replica.cli('info', 'replication')).includes('link_status:up')
      ) {
        throw new Error('the replica is not known yet')
      }
    },
  })
  t.teardown(() => server.stop('SIGKILL'))
  return { port, master, replica }
}

/** Three masters that share the slots. */
export async function startCluster(
  t: Pick<Test, 'teardown'>,
  { flags = [] }: { flags?: readonly string[] } = {},
): Promise<TestRedis[]> {
  const cluster = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', ...flags]
  const nodes = await Promise.all([0, 1, 2].map(() => startRedis(t, { flags: cluster })))
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`)
  await run('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-yes'])
  for (const node of nodes) {
    while (!(await node.cli('cluster', 'info')).includes('cluster_state:ok'))
      await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return nodes
}
