// npm run check: types, format, lint and unused code, side by side; what each has to say comes when
// it ends. No other file is loaded, so that nothing must be built before.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

const root = join(import.meta.dirname, '..')
const checks = [['tsc', '--pretty'], ['biome', 'check'], ['knip'], ['knip', '--production']]

async function check([program, ...args]) {
  const path = join(root, 'node_modules', '.bin', program)
  const child = spawn(path, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  const [output, errors, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  console.log(`${code === 0 ? 'ok' : 'FAILED'}: ${[program, ...args].join(' ')}`)
  if (code !== 0) console.log(`${output}${errors}`.trimEnd())
  return code === 0
}

// tsc takes as long as all the others together.
const [types, ...others] = checks
const inTurn = async () => {
  const passed = []
  for (const other of others) passed.push(await check(other))
  return passed
}
const results = (await Promise.all([check(types), inTurn()])).flat()
if (results.includes(false)) process.exitCode = 1
