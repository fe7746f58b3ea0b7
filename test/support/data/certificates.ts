import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../../../src/core/process/process.ts'

/**
 * A folder with a certificate authority (ca.pem), a server of 127.0.0.1, localhost, server.example and
 * these addresses (server.pem, server-key.pem) and a client (cert.pem, key.pem), good for two days.
 */
export async function makeCertificates(
  folder: string,
  addresses: readonly string[] = [],
): Promise<string> {
  await mkdir(folder)
  const make = (command: string, options: Record<string, string>, ...flags: string[]) => {
    const given = Object.entries(options).flatMap(([name, value]) => [`-${name}`, value])
    return run('openssl', [command, ...flags, ...given], { cwd: folder })
  }
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const authority = { keyout: 'ca-key.pem', out: 'ca.pem', subj: '/CN=test ca', days: '2' }
  await make('req', authority, '-x509', ...fresh)
  for (const { name, cert, key, extension } of leaves(addresses)) {
    await writeFile(join(folder, 'extension'), extension)
    await make('req', { keyout: key, out: 'request', subj: `/CN=${name}` }, ...fresh)
    const signed = { in: 'request', CA: 'ca.pem', CAkey: 'ca-key.pem', out: cert, days: '2' }
    await make('x509', { ...signed, extfile: 'extension' }, '-req', '-CAcreateserial')
  }
  return folder
}

const leaves = (addresses: readonly string[]) => [
  {
    name: 'server',
    cert: 'server.pem',
    key: 'server-key.pem',
    extension: [
      `subjectAltName=${['127.0.0.1', ...addresses].map((each) => `IP:${each}`)},DNS:localhost,DNS:server.example`,
      'extendedKeyUsage=serverAuth',
    ].join('\n'),
  },
  { name: 'client', cert: 'cert.pem', key: 'key.pem', extension: 'extendedKeyUsage=clientAuth' },
]
