import { join } from 'node:path'

// The tests and the scripts run in the repository's folder.
const kept = (name: string) => join(process.cwd(), '.crosscloud', name)

/** The demo's folder: whoever ran the demo has the base image already. */
export const DEMO_FOLDER = kept('demo')

/** Where a newer Node is than the one that runs the tests. */
export const NEWER_NODE_FOLDER = kept('node')

/** The small server of the demo image, compiled. */
export const DEMO_SERVER_FOLDER = join(process.cwd(), '.cache', 'demo-server')

/** The data of a MariaDB server that has never run. */
export const MARIADB_FOLDER = join(process.cwd(), '.cache', 'mariadb')
