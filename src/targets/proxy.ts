/** What a proxy sends requests to: one slot of a host, or a host with one fixed port. */
export interface ProxyServer {
  /** The host's name in crosscloud.yml. */
  host: string
  /** Counted from 1; undefined for a host with one fixed port. */
  slot: number | undefined
  /** Where the proxy reaches it: an IP address, or a name that the proxy resolves. */
  address: string
  port: number
}

/**
 * `in`: it gets its share of the requests; `draining`: no new ones, what it has goes on; `out`: none.
 */
export type ServerMode = 'in' | 'draining' | 'out'

/** How a proxy treats one of its servers now. */
export interface ServerState {
  server: ProxyServer
  mode: ServerMode
  /** What the proxy's own check of it says; undefined where the proxy makes none. */
  up: boolean | undefined
  /** Its share of the requests in percent of an ordinary one; undefined where that is unknown. */
  weight: number | undefined
}

/** Whether a host gets no requests: all that the proxy has of it is out. */
export function isOut(host: string, states: readonly ServerState[] = []): boolean {
  const own = states.filter(({ server }) => server.host === host)
  return own.length > 0 && own.every(({ mode }) => mode !== 'in')
}

/** What a host shows of its instances; `cut off`: a deployer left something to repair. */
export type HostActivity = 'runs' | 'idle' | 'cut off' | 'unknown'

/**
 * Whether a host that is out stays out, as somebody took it out: not where a deployer did, which was
 * cut off, nor where nothing runs and the proxy takes what is down for out.
 */
export function isLeftOut(
  activity: HostActivity,
  { tellsOut }: Pick<ReverseProxy, 'tellsOut'>,
): boolean {
  return activity !== 'cut off' && (tellsOut || activity === 'runs')
}

/** Hosts that get requests now: a server of theirs is in, and the proxy does not find it down. */
export function receivingHosts(states: readonly ServerState[]): string[] {
  const receiving = states.filter(({ mode, up }) => mode === 'in' && up !== false)
  return [...new Set(receiving.map(({ server }) => server.host))]
}

/** What a rollout would find at the proxy in front of its hosts. */
export interface ProxyPreview {
  /** For people: `nginx on lb-01`. */
  name: string
  isWeighted: boolean
  /** Hosts that a rollout leaves out, as somebody took them out: see isLeftOut. */
  leftOut: readonly string[]
  /** What a deployer that was killed has left there: a rollout repairs that first. */
  leftover: string | undefined
  /** Undefined where they are known only after the repair. */
  states: ServerState[] | undefined
}

export interface Cancellation {
  /** Ends the waiting; what was changed by then stays, see `restore`. */
  signal?: AbortSignal | undefined
}

export interface TakeOut extends Cancellation {
  /**
   * Takes over: it is put in, if it is not in, and the proxy itself must find it up before the other
   * one loses its requests.
   */
  instead?: ProxyServer | undefined
  /** Whether it may go although no other server is left: then the proxy answers with an error. */
  evenIfLast?: boolean | undefined
}

/** How the requests of a server ended that was taken out. */
export interface Drained {
  /** Requests still under way when the drain time was over; undefined where the proxy cannot tell. */
  left: number | undefined
  /** milliseconds */
  duration: number
}

/** What the proxy has counted since it began to count: two of them give the rate between. */
export interface ResponseCounts {
  all: number
  /** With a status of 500 or more. */
  failed: number
}

/**
 * The proxy in front of an environment, as a rollout uses it. Nothing is sent before the first call.
 * Every change returns once the proxy works by it. Errors name the proxy: UNAVAILABLE when it cannot
 * be reached, COMMAND_FAILED when it refuses a change, which then has not been made.
 * Every driver passes test/proxies/proxy-conformance.ts.
 */
export interface ReverseProxy {
  /** For people: `nginx on lb-01`. */
  readonly name: string
  /** Whether `setWeights` can be used. */
  readonly isWeighted: boolean
  /** Whether it tells a server that somebody took out from one that is down. */
  readonly tellsOut: boolean
  /**
   * Every server of the environment, in their order. Changes nothing, so it is the check before a
   * rollout, too: NOT_FOUND or CONFLICT when the proxy does not have all of them, FORBIDDEN when
   * they may not be changed.
   */
  states(): Promise<ServerState[]>
  /**
   * Whether it can be reached and accepts its configuration; changes nothing. COMMAND_FAILED when it
   * does not. @returns what `repair` would put right, as that says it; undefined when nothing
   */
  check(): Promise<string | undefined>
  /**
   * Completes or takes back what a deployer that was killed left half-done, under the deployment's
   * lock. @returns what was found, for people and without the proxy's name; undefined when nothing was
   */
  repair(): Promise<string | undefined>
  /** Whether the server gets requests, and the proxy's own check, where it makes one, finds it up. */
  isServing(server: ProxyServer): Promise<boolean>
  /** Back once the server is serving; UNAVAILABLE when the proxy's own check does not find it up. */
  putIn(server: ProxyServer, options?: Cancellation): Promise<void>
  /**
   * Sends the server no more requests and waits until it has none, or the environment's drain time
   * is over. CONFLICT, and nothing is changed, when no other server would be serving.
   */
  takeOut(server: ProxyServer, options?: TakeOut): Promise<Drained>
  /** Shares in percent, 1 to 100, of an ordinary server's; other servers keep theirs. */
  setWeights(weights: ReadonlyMap<ProxyServer, number>): Promise<void>
  /**
   * Makes the servers as they were when `states` was asked. Those that were in come first and must be
   * up before another is taken out: when they are not, it throws and the others go on serving. Once
   * the signal has fired nothing is waited for: the process soon ends.
   */
  restore(before: readonly ServerState[], options?: Cancellation): Promise<void>
  /** Of one server; undefined where the proxy does not count. */
  responses(server: ProxyServer): Promise<ResponseCounts | undefined>
  close(): Promise<void>
}
