import { fileURLToPath } from 'node:url'

/** For `--import`: a process that a test starts reads our sources with it. */
export const TYPESCRIPT = fileURLToPath(new URL('../../scripts/typescript.mjs', import.meta.url))
