import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { run } from '../../../src/core/process/process.ts'
import { makeCertificates } from '../data/certificates.ts'
import { freePort } from './ports.ts'
import { type RunningServer, serverFolder, startServer } from './server.ts'

export interface TestEtcd {
  port: number
  /** With `tls`: a folder with ca.pem, cert.pem and key.pem. */
  certificates: string
  server: RunningServer
  /** etcdctl with these arguments. */
  ctl(...args: string[]): Promise<string>
}

/** A server of its own on 127.0.0.1, ended with the test. */
export async function startEtcd(
  t: Pick<Test, 'teardown'>,
  options: { tls?: boolean; args?: readonly string[] } = {},
): Promise<TestEtcd> {
  const { folder, remove } = await serverFolder('etcd')
  t.teardown(remove)
  const [port, peer] = [await freePort(), await freePort()]
  const certificates = join(folder, 'tls')
  const file = (name: string) => join(certificates, name)
  if (options.tls) await makeCertificates(certificates)
  const url = `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`
  const secure = ['--cert-file', file('server.pem'), '--key-file', file('server-key.pem')]
  secure.push('--trusted-ca-file', file('ca.pem'), '--client-cert-auth')
  const client = ['--cacert', file('ca.pem'), '--cert', file('cert.pem'), '--key', file('key.pem')]
  const ctl = async (...args: string[]) => {
    const flags = ['--endpoints', url, ...(options.tls ? client : [])]
    return (await run('etcdctl', [...flags, ...args], { env: { ETCDCTL_API: '3' } })).stdout
  }
  const server = await startServer(
    'etcd',
    [
      ...['--data-dir', join(folder, 'data'), '--unsafe-no-fsync', '--log-level', 'error'],
      ...['--listen-client-urls', url, '--advertise-client-urls', url],
      ...['--listen-peer-urls', `http://127.0.0.1:${peer}`],
      ...['--initial-advertise-peer-urls', `http://127.0.0.1:${peer}`],
      ...['--initial-cluster', `default=http://127.0.0.1:${peer}`],
      ...(options.tls ? secure : []),
      ...(options.args ?? []),
    ],
    { ready: () => ctl('endpoint', 'health') },
  )
  t.teardown(() => server.stop('SIGKILL'))
  return { port, certificates, server, ctl }
}

/** Stands between client and server; `seen` gets all bytes and may cut this connection. */
export async function startProxy(
  t: Pick<Test, 'teardown'>,
  port: number,
  seen: (from: 'client' | 'server', bytes: Buffer, cut: () => void) => void,
): Promise<number> {
  const sockets = new Set<Socket>()
  const proxy = createServer((client) => {
    const server = connect(port, '127.0.0.1')
    const cut = () => {
      client.destroy()
      server.destroy()
    }
    const join = (from: 'client' | 'server', source: Socket, target: Socket) => {
      sockets.add(source)
      source.on('error', cut).on('close', cut)
      source.on('data', (bytes: Buffer) => {
        seen(from, bytes, cut)
        target.write(bytes)
      })
    }
    join('client', client, server)
    join('server', server, client)
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    proxy.close()
    for (const socket of sockets) socket.destroy()
  })
  return (proxy.address() as AddressInfo).port
}
