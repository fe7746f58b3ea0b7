#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { Script } from 'node:vm'

/**
 * Runs the program, which the build puts beside this file as one function, with the code that V8
 * made of it then. Reading and compiling it anew would take longer than most commands do. Another
 * version of Node refuses that code by itself, and compiles the text.
 */
const file = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const script = new Script(readFileSync(file('program.cjs'), 'utf8'), {
  filename: file('program.cjs'),
  cachedData: readCode(),
})
const importModule = (specifier: string) => import(specifier)
script.runInThisContext()(createRequire(import.meta.url), import.meta.url, importModule)

function readCode(): Buffer | undefined {
  try {
    return readFileSync(file('program.code'))
  } catch {
    return undefined
  }
}
