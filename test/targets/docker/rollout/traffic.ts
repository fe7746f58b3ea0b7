import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** milliseconds between two requests */
const PAUSE = 5

/**
 * Sends requests to the first of these ports that accepts them, as a proxy with both slots of an
 * application does, and keeps what was lost.
 */
export function startTraffic(ports: readonly number[]) {
  const lost: string[] = []
  let sent = 0
  let isOver = false
  const work = (async () => {
    while (!isOver) {
      sent++
      const errors: string[] = []
      for (const port of ports) {
        const error = await ask(port)
        if (error === undefined) break
        errors.push(`${port}: ${error}`)
      }
      if (errors.length === ports.length) lost.push(errors.join(', '))
      await sleep(PAUSE)
    }
  })()
  return {
    lost,
    sent: () => sent,
    async stop() {
      isOver = true
      await work
    },
  }
}

/** Undefined for 200. */
function ask(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const asked = request({ host: '127.0.0.1', port, agent: false, timeout: 5000 }, (response) => {
      response.resume()
      response.on('end', () =>
        resolve(response.statusCode === 200 ? undefined : `HTTP ${response.statusCode}`),
      )
    })
    asked.on('timeout', () => asked.destroy(new Error('timeout')))
    asked.on('error', (error: Error & { code?: string }) => resolve(error.code ?? error.message))
    asked.end()
  })
}
