/** What the bench asks of autocannon, which brings no types: https://github.com/mcollina/autocannon#api */
declare module 'autocannon' {
  interface Request {
    method: 'GET' | 'POST'
    headers: Record<string, string>
    body?: string
    /** Called before each request. */
    setupRequest?(request: Request): Request
  }
  interface Options {
    url: string
    requests: Request[]
    connections: number
    /** Seconds. */
    duration?: number
    /** Requests in all. */
    amount?: number
    /** Requests a second. */
    overallRate?: number
  }
  interface Result {
    '2xx': number
    non2xx: number
    errors: number
    /** Seconds. */
    duration: number
    /** Milliseconds. */
    latency: { p50: number; p99: number; max: number }
    statusCodeStats: Record<string, { count: number }>
  }
  export default function autocannon(options: Options): Promise<Result>
}
