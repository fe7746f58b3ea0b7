import { describe, toStepError } from '../src/core/errors.ts'
import { createLog } from '../src/core/log.ts'
import { installPackages, missingPackages } from '../src/demo/packages.ts'

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
