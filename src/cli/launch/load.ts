import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Script } from 'node:vm'

/**
 * Runs a file that the build puts beside this one, a function, with the code that V8 made of it then:
 * reading and compiling it anew takes longer than most commands do. Another version of Node refuses
 * that code by itself, and compiles the text.
 */
export async function load(name: 'help' | 'program'): Promise<unknown> {
  const file = join(__dirname, `${name}.cjs`)
  const script = new Script(readFileSync(file, 'utf8'), {
    filename: file,
    cachedData: readCode(join(__dirname, `${name}.code`)),
  })
  const module = { exports: {} }
  const url = pathToFileURL(__filename).href
  const importModule = (specifier: string) => import(specifier)
  const given = [module.exports, require, module, file, __dirname, url, importModule]
  script.runInThisContext()(...given)
  return module.exports
}

function readCode(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch {
    return undefined
  }
}
