import type { Etcd3, IOptions } from 'etcd3'
import { cancelled, StepError, throwIfCancelled } from '../../../core/errors.ts'
import type { TlsTexts } from '../../../core/files/tls-files.ts'
import { wait } from '../../../core/retry.ts'
import { etcdErrorOf } from './errors.ts'
import type { EtcdAddress } from './url.ts'

export type CallOptions = NonNullable<Parameters<Etcd3['kv']['txn']>[1]>
type Interceptor = NonNullable<CallOptions['interceptors']>[number]
export type EtcdCall<T> = (client: Etcd3, options: CallOptions) => Promise<T>

/** Calls one member of the cluster, and the next when that fails. Throws the errors of etcd3. */
export interface EtcdClient {
  /** Makes an idempotent call, repeated on failure. `always`: also after the signal has fired. */
  repeat<T>(call: EtcdCall<T>, options?: { always?: boolean }): Promise<T>
  /** Makes a call at most once, on the member that responded last. */
  once<T>(call: EtcdCall<T>): Promise<T>
  close(): void
}

/** milliseconds */
const CALL_TIME = 5_000
/** No retry after so many milliseconds. */
const TIMEOUT = 8_000
const ROUNDS = 3
const CANCELLED = 1

export function createEtcdClient(
  address: EtcdAddress,
  tls: TlsTexts,
  signal: AbortSignal | undefined,
): EtcdClient {
  checkTls(address, tls)
  const { hosts } = address
  const open = new Map<string, Promise<Etcd3>>()
  let current = 0

  const clientOf = (host: string) => {
    const client = open.get(host) ?? connect(host, address, tls, signal)
    open.set(host, client)
    return client
  }
  const closeHost = (host: string) => {
    const client = open.get(host)
    open.delete(host)
    client?.then((opened) => opened.close()).catch(() => {})
  }
  const ask = async <T>(call: EtcdCall<T>, stop: AbortSignal | undefined): Promise<T> => {
    throwIfCancelled(stop)
    const host = hosts[current % hosts.length] ?? ''
    const ended = new AbortController()
    try {
      return await call(await clientOf(host), callOptions(stop, ended.signal))
    } catch (error) {
      if (stop?.aborted) throw cancelled(stop)
      const kind = etcdErrorOf(error)
      // The rights changed after the token was issued: it must be renewed (etcd,
      // ErrAuthOldRevision).
      if (kind === 'stale-token') closeHost(host)
      if (kind === 'transient' && hosts[current % hosts.length] === host) current++
      throw error
    } finally {
      ended.abort()
    }
  }
  return {
    async repeat(call, { always = false } = {}) {
      const stop = always ? undefined : signal
      const end = Date.now() + TIMEOUT
      for (let tries = 1; ; tries++) {
        try {
          return await ask(call, stop)
        } catch (error) {
          const kind = etcdErrorOf(error)
          const again = kind === 'transient' || (kind === 'stale-token' && tries === 1)
          if (!again || tries >= ROUNDS * hosts.length || Date.now() > end) throw error
        }
        if (tries % hosts.length === 0) await wait(150 * tries, stop)
      }
    },
    once: (call) => ask(call, signal),
    close() {
      for (const host of [...open.keys()]) closeHost(host)
    },
  }
}

async function connect(
  host: string,
  { tls: secure, auth }: EtcdAddress,
  { ca, cert, key }: TlsTexts,
  signal: AbortSignal | undefined,
): Promise<Etcd3> {
  const { Etcd3 } = await import('etcd3').catch((cause: unknown) => {
    throw new StepError('COMMAND_FAILED', 'the client of etcd, etcd3, cannot be loaded', {
      hint: 'It is a part of crosscloud that is missing. Install crosscloud again.',
      cause,
    })
  })
  const never = new AbortController().signal
  const options: IOptions = {
    hosts: secure ? `https://${host}` : host,
    // The retries of etcd3 would send a change twice.
    faultHandling: { host: () => plainly, global: plainly },
    grpcOptions: { 'grpc.use_local_subchannel_pool': 1, 'grpc.enable_retries': 0 },
    defaultCallOptions: () => callOptions(signal, never),
  }
  if (auth) options.auth = auth
  if (secure) {
    options.credentials = {
      // null: the authorities that the system trusts (grpc-js, createSsl).
      rootCertificate: (ca ? Buffer.from(ca) : null) as Buffer,
      ...(key && { privateKey: Buffer.from(key) }),
      ...(cert && { certChain: Buffer.from(cert) }),
    }
  }
  try {
    return new Etcd3(options)
  } catch (error) {
    throw new StepError('INPUT_INVALID', 'ca, cert or key of the config centre is no good PEM', {
      hint: 'Give PEM files: certificates, and the key that belongs to cert.',
      cause: error,
    })
  }
}

/** A deadline, and cancellation by `stop`; `ended` removes the listener after the call. */
function callOptions(stop: AbortSignal | undefined, ended: AbortSignal): CallOptions {
  return {
    deadline: Date.now() + CALL_TIME,
    interceptors: [
      (options, next) => {
        const call = next(options)
        const cancel = () => call.cancelWithStatus(CANCELLED, 'cancelled')
        stop?.addEventListener('abort', cancel, { once: true, signal: ended })
        // The type wants grpc's class; grpc itself needs the interface only.
        return call as ReturnType<Interceptor>
      },
    ],
  }
}

function checkTls({ tls: secure }: EtcdAddress, { ca, cert, key }: TlsTexts): void {
  if (!secure && (ca || cert || key)) {
    throw new StepError('INPUT_INVALID', 'an etcd:// config centre takes no certificates', {
      hint: 'Write etcds:// to speak TLS, or take ca, cert and key away.',
    })
  }
  if (!cert === !key) return
  throw new StepError('INPUT_INVALID', 'of cert and key of the config centre one is missing', {
    hint: 'Give both, or none of them.',
  })
}

type Policy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>

const nothing = () => ({ dispose() {} })
const plainly: Policy = {
  _altReturn: undefined as never,
  execute: async (run) => run({ signal: new AbortController().signal }),
  onSuccess: nothing,
  onFailure: nothing,
}
