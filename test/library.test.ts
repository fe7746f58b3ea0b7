import t from 'tap'
import * as library from '../src/index.ts'
import { loadSteps } from '../src/steps/index.ts'

t.test(
  'the library exports every step that there is, and nothing else that looks like one',
  async (t) => {
    const steps = (await loadSteps()).map(({ name }) => name)
    const exported = Object.values(library)
      .filter((value) => typeof value === 'object' && 'run' in value)
      .map(({ name }) => name)
    t.strictSame(exported.sort(), steps.sort())
  },
)
