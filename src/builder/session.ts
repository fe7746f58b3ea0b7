import { randomUUID } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { ServerUnaryCall, ServiceDefinition, sendUnaryData } from '@grpc/grpc-js'
import type Docker from 'dockerode'
import type { RegistryCredential } from '../targets/docker/host.ts'
import { decodeFields, encodeTexts, textOf } from './protobuf.ts'

/** The one method of a session that is served here: BuildKit asks who we are at a registry. */
const CREDENTIALS = '/moby.filesync.v1.Auth/Credentials'

export interface Session {
  id: string
  close(): void
}

/**
 * A session for BuildKit, over which it asks for logins of registries by their hosts (BuildKit,
 * session/auth/auth.proto); it gets none but that of the host it asks for.
 */
export async function openSession(
  { modem }: Docker,
  credentials: (registry: string) => Promise<RegistryCredential | undefined>,
): Promise<Session> {
  const { Server, ServerCredentials, status } = await import('@grpc/grpc-js')
  const id = randomUUID()
  const socket = await new Promise<Duplex>((resolve, reject) => {
    const headers = {
      Upgrade: 'h2c',
      'X-Docker-Expose-Session-Uuid': id,
      'X-Docker-Expose-Session-Name': 'crosscloud',
      'X-Docker-Expose-Session-Grpc-Method': CREDENTIALS,
    }
    const statusCodes = { 101: true, 200: true, 500: 'server error' }
    const request = { method: 'POST', path: '/session', hijack: true, headers, statusCodes }
    modem.dial(request, (error, opened) => (error ? reject(error) : resolve(opened as Duplex)))
  })
  const server = new Server()
  server.addService(service, {
    Credentials(call: ServerUnaryCall<string, RegistryCredential>, reply: sendUnaryData<object>) {
      credentials(hostOf(call.request)).then(
        (found) => reply(null, found ?? { username: '', password: '' }),
        (error: Error) => reply({ code: status.UNAVAILABLE, details: error.message }),
      )
    },
  })
  server.createConnectionInjector(ServerCredentials.createInsecure()).injectConnection(socket)
  return {
    id,
    close() {
      server.forceShutdown()
      socket.destroy()
    },
  }
}

/** BuildKit names Docker Hub by the host that it dials. */
function hostOf(registry: string): string {
  return registry === 'registry-1.docker.io' ? 'docker.io' : registry
}

const service: ServiceDefinition = {
  Credentials: {
    path: CREDENTIALS,
    requestStream: false,
    responseStream: false,
    requestSerialize: (host: string) => encodeTexts([host]),
    requestDeserialize: (bytes: Buffer) => textOf(decodeFields(bytes), 1),
    responseSerialize: ({ username, password }: RegistryCredential) =>
      encodeTexts([username, password]),
    responseDeserialize: (bytes: Buffer) => decodeFields(bytes),
  },
}
