// Loaded into the command line that is measured: keeps when each of its requests began and ended.
import { subscribe } from 'node:diagnostics_channel'
import { writeFileSync } from 'node:fs'

const file = process.env.BENCH_CALLS
const calls = []
const requests = new WeakMap()
const fetches = new Map()
const now = () => performance.timeOrigin + performance.now()

subscribe('http.client.request.start', ({ request }) => {
  const call = { method: request.method, path: request.path, kind: 'engine', started: now() }
  calls.push(call)
  requests.set(request, call)
  request.once('close', () => {
    call.ended = now()
  })
})
subscribe('http.client.response.finish', ({ request, response }) => {
  const call = requests.get(request)
  if (call) call.status = response.statusCode
})

subscribe('undici:request:create', ({ request }) => {
  const call = { method: request.method, path: request.path, kind: 'fetch', started: now() }
  call.origin = String(request.origin)
  calls.push(call)
  fetches.set(request, call)
})
const end = ({ request, error }) => {
  const call = fetches.get(request)
  if (!call) return
  call.ended = now()
  if (error) call.error = String(error.code ?? error.message)
}
subscribe('undici:request:headers', ({ request, response }) => {
  const call = fetches.get(request)
  if (call) Object.assign(call, { status: response.statusCode, ended: now() })
})
subscribe('undici:request:trailers', end)
subscribe('undici:request:error', end)

process.on('exit', () => {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage()
  const usage = { cpu: (userCPUTime + systemCPUTime) / 1000, memory: maxRSS * 1024 }
  if (file) writeFileSync(file, JSON.stringify({ started: performance.timeOrigin, calls, usage }))
})
