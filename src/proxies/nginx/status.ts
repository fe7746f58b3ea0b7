import { StepError } from '../../core/errors.ts'
import { sendForText } from '../../core/http/body.ts'
import { createHttpClient } from '../../core/http/client.ts'
import { connectionError } from '../../core/http/errors.ts'
import { wait } from '../../core/retry.ts'

export interface Status {
  /** The version of our file that nginx works by. */
  generation(): Promise<number>
  /** Back once nginx works by this one; VERIFY_FAILED when it does not in time. */
  untilGeneration(wanted: number): Promise<void>
  close(): void
}

/** milliseconds */
const REQUEST_TIMEOUT = 5000
/** A reload takes a quarter of a second; nginx tries 2.5 s for a port that is taken. */
export const RELOAD_TIMEOUT = 20_000
const POLL = 100
const LONGEST = 1024

/** The location that serves the generation back. */
export function openStatus(
  name: string,
  address: string,
  { upstream, timeout = RELOAD_TIMEOUT }: { upstream: string; timeout?: number | undefined },
): Status {
  // Not through a proxy of the environment: this is about one nginx.
  const http = createHttpClient()
  const url = new URL(address)
  const { signal } = new AbortController()
  const subject = `${name}: GET ${address}`

  /** On a new connection each: an old worker goes on serving those that it has. */
  async function ask(): Promise<number> {
    const headers = { connection: 'close' }
    const { status, text } = await sendForText(http, url, {
      headers,
      signal,
      timeout: REQUEST_TIMEOUT,
      longest: LONGEST,
    }).catch((error: unknown) => {
      throw connectionError(subject, error, peer)
    })
    const generation = /^\d{1,15}$/.test(text.trim()) ? Number(text) : undefined
    if (status === 200 && generation !== undefined) return generation
    throw new StepError('NOT_FOUND', `${subject}: HTTP ${status}, and no generation`, {
      hint: `Paste the location for the upstream ${upstream} from docs/proxies.md into that server of nginx.`,
    })
  }

  return {
    generation: ask,
    async untilGeneration(wanted) {
      for (const end = Date.now() + timeout; ; await wait(POLL)) {
        const served = await ask()
        if (served === wanted) return
        if (Date.now() < end) continue
        throw new StepError(
          'VERIFY_FAILED',
          `${name}: ${timeout / 1000} s after its reload it works by generation ${served}, not ${wanted}`,
          {
            hint: "Read nginx's log: a reload that fails is only said there. A file mounted alone into a container stays the old one: mount the folder.",
          },
        )
      }
    },
    close: () => http.close(),
  }
}

const CHECK = 'See that `proxy.nginx.status` is reached from here, then run the command again.'
const peer = {
  hints: {
    name: CHECK,
    protocol: 'Correct http:// or https:// in `proxy.nginx.status`.',
    certificate: 'Write http://, or trust the authority: NODE_EXTRA_CA_CERTS.',
    connection: CHECK,
  },
}
