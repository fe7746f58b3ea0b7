import { homedir } from 'node:os'
import { join } from 'node:path'

/** Where the engines are kept between runs: outside the checkout, which CI makes anew. */
export const TOOLS_FOLDER =
  process.env.CROSSCLOUD_TEST_TOOLS ??
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'crosscloud-test-tools')

/** A program or library that an engine test needs. */
export interface Tool {
  name: string
  /** Gets it, where it is not there yet; throws when it cannot be had. */
  prepare(): Promise<void>
}
