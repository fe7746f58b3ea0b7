import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const DIST = fileURLToPath(new URL('../../../dist', import.meta.url))

export interface ActionRun {
  code: number | null
  printed: string
  output: string
  summary: string
}

export interface ActionOptions {
  /** The folder with the bundle. */
  dist?: string
  /** The Node that runs it. */
  node?: string
  env?: Record<string, string | undefined>
  /** Called with everything that is printed, with a way to send the process a signal. */
  onOutput?: (printed: string, kill: (signal: NodeJS.Signals) => void) => void
}

/** As a runner calls an action: inputs as INPUT_…, files for outputs and summary. */
export async function runAction(
  folder: string,
  step: string,
  inputs: Record<string, string>,
  { dist = DIST, node = process.execPath, env = {}, onOutput }: ActionOptions = {},
): Promise<ActionRun> {
  const files = {
    GITHUB_OUTPUT: join(folder, 'output'),
    GITHUB_STEP_SUMMARY: join(folder, 'summary'),
  }
  for (const path of Object.values(files)) await writeFile(path, '')
  const given = Object.entries(inputs).map(([name, value]) => [
    `INPUT_${name.toUpperCase()}`,
    value,
  ])
  const child = spawn(node, [join(dist, `${step}.cjs`)], {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      GITHUB_ACTIONS: 'true',
      ...files,
      ...Object.fromEntries(given),
      ...env,
    },
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      printed += text
      onOutput?.(printed, (signal) => child.kill(signal))
    })
  }
  const [code] = await once(child, 'close')
  const [output = '', summary = ''] = await Promise.all(
    Object.values(files).map((path) => readFile(path, 'utf8')),
  )
  return { code, printed, output, summary }
}
