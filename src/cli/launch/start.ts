#!/usr/bin/env node
import { load } from './load.ts'

const argv = process.argv.slice(2)
const asksForHelp =
  argv[0] === 'help' || argv.some((word) => /^(?:-h|--help|--version|-V)$/.test(word))

async function start(): Promise<void> {
  if (asksForHelp) {
    const { printHelp } = (await load('help')) as typeof import('./help.ts')
    if (await printHelp(argv)) return
  }
  await load('program')
}
void start()
