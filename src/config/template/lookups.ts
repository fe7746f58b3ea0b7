import { lookup, Resolver } from 'node:dns/promises'
import pLimit from 'p-limit'
import { errorCodeOf, StepError, throwIfCancelled } from '../../core/errors.ts'
import { compareBytes } from '../store/keys.ts'
import type { LookupResult } from './language/helper.ts'
import type { CompiledTemplate } from './templates.ts'

/** Results by lookupKey; an error is thrown only when a template uses that result. */
export type Lookups = ReadonlyMap<string, LookupResult | StepError>

export interface LookupOptions {
  signal?: AbortSignal | undefined
  /** For each name, in milliseconds; default 5 seconds. */
  timeout?: number
  /** DNS servers for SRV records, `127.0.0.1:53`; default: the system's. */
  servers?: readonly string[]
}

const AT_ONCE = 16
/** Codes of getaddrinfo and c-ares for "there is no such name" and "it has no such record". */
const ABSENT = new Set(['ENOTFOUND', 'ENODATA', 'EBADNAME'])

/** The key of a result: the helper and its arguments. */
export function lookupKey(query: readonly string[]): string {
  return query.join('\0')
}

/** Resolves the constant names in the templates' `lookupIP`, `lookupSRV` and the like. */
export async function prefetchLookups(
  templates: readonly CompiledTemplate[],
  options: LookupOptions = {},
): Promise<Lookups> {
  const queries = new Map<string, readonly string[]>()
  for (const { program } of templates) {
    if (program instanceof StepError) continue
    for (const { lookups } of program.needs.values()) {
      for (const { query } of lookups) queries.set(lookupKey(query), query)
    }
  }
  const limit = pLimit(AT_ONCE)
  const resolved = [...queries].map(async ([key, query]) => {
    return [key, await limit(() => resolve(query, options))] as const
  })
  const found = new Map(await Promise.all(resolved))
  throwIfCancelled(options.signal)
  return found
}

async function resolve(
  [helper, ...words]: readonly string[],
  { signal, timeout = 5000, servers }: LookupOptions,
): Promise<LookupResult | StepError> {
  const name = helper === 'lookupSRV' ? srvName(words) : (words[0] ?? '')
  const resolver = new Resolver({ timeout, tries: 1 })
  if (servers) resolver.setServers(servers)
  const limit = new AbortController()
  const timer = setTimeout(() => limit.abort(), timeout)
  const stopped = AbortSignal.any(signal ? [signal, limit.signal] : [limit.signal])
  try {
    const work = helper === 'lookupSRV' ? findServices(resolver, name) : findAddresses(name)
    return await Promise.race([work, whenStopped(stopped)])
  } catch (error) {
    const code = limit.signal.aborted ? 'ETIMEOUT' : (errorCodeOf(error) ?? 'ECANCELLED')
    if (ABSENT.has(code)) {
      return new StepError('INPUT_INVALID', `the network knows no ${name}`, {
        hint: 'Check the name.',
      })
    }
    return new StepError('UNAVAILABLE', `cannot look up ${name}: ${code}`, {
      hint: 'The name server did not answer. Run the command again.',
    })
  } finally {
    clearTimeout(timer)
    resolver.cancel()
  }
}

function whenStopped(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = () => reject(signal.reason)
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
  })
}

/** As Go's net.LookupSRV: `_service._protocol.name`, or the name alone. */
function srvName([service = '', protocol = '', name = '']: readonly string[]): string {
  return service === '' && protocol === '' ? name : `_${service}._${protocol}.${name}`
}

/** By the system's resolver, which knows /etc/hosts too. */
async function findAddresses(name: string): Promise<string[]> {
  if (!/^[\w.:%-]+$/.test(name)) throw Object.assign(new Error(name), { code: 'EBADNAME' })
  const found = await lookup(name, { all: true })
  return [...new Set(found.map(({ address }) => address))].sort(compareBytes)
}

async function findServices(resolver: Resolver, name: string): Promise<LookupResult> {
  const found = await resolver.resolveSrv(name)
  const inText = found.map(({ name: target, port, priority, weight }) => ({
    record: { target, port, priority, weight },
    text: `${target}${port}${priority}${weight}`,
  }))
  return inText.sort((a, b) => compareBytes(a.text, b.text)).map(({ record }) => record)
}
