import { StepError, toStepError } from '../src/core/errors.ts'

// npm run bench -- image|config|ledger|webhooks|api|deploy [--json]
const [name, ...flags] = process.argv.slice(2)
const benches: Record<string, () => Promise<{ json: object; text: string }>> = {
  image: async () => (await import('./image.ts')).benchImage(),
  config: async () => (await import('./config.ts')).benchConfig(),
  ledger: async () => (await import('./ledger.ts')).benchLedger(),
  webhooks: async () => (await import('./webhooks.ts')).benchWebhooks(),
  api: async () => (await import('./api.ts')).benchApi(),
  deploy: async () => (await import('./deploy.ts')).benchDeploy(flags),
}
try {
  const bench = benches[name ?? '']
  if (!bench) {
    throw new StepError('INPUT_INVALID', `there is no bench "${name ?? ''}"`, {
      hint: `Known: ${Object.keys(benches).join(', ')}.`,
    })
  }
  const { json, text } = await bench()
  process.stdout.write(`${flags.includes('--json') ? JSON.stringify(json, null, 2) : text}\n`)
} catch (error) {
  const { message, hint } = toStepError(error)
  process.stderr.write(`error: ${message}\n${hint ? `  → ${hint}\n` : ''}`)
  process.exitCode = 1
}
