import { join, resolve } from 'node:path'
import { type EngineAddress, parseAddress } from '../targets/docker/address.ts'
import { type TlsFiles, tlsFiles } from '../targets/docker/connect.ts'

const LOCAL_SOCKET = 'unix:///var/run/docker.sock'

interface Place {
  cwd: string
  home: string
  variables: Readonly<Record<string, string | undefined>>
}

/**
 * The engine that was named, else the one of docker's own client:
 * https://docs.docker.com/reference/cli/docker/#environment-variables
 */
export function findEngine(
  given: { address: string | undefined; certificates: string | undefined },
  { cwd, home, variables }: Place,
): { address: EngineAddress; tls: TlsFiles | undefined } {
  if (given.address !== undefined) {
    const folder = given.certificates && resolve(cwd, given.certificates)
    return { address: parseAddress(given.address), tls: folder ? tlsFiles(folder) : undefined }
  }
  const address = parseAddress(variables.DOCKER_HOST || LOCAL_SOCKET)
  const isTls = Boolean(variables.DOCKER_TLS_VERIFY || variables.DOCKER_TLS)
  if (address.kind !== 'tcp' || !isTls) return { address, tls: undefined }
  const folder = variables.DOCKER_CERT_PATH || variables.DOCKER_CONFIG || join(home, '.docker')
  return { address, tls: tlsFiles(resolve(cwd, folder)) }
}
