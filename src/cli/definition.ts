import { readFile } from 'node:fs/promises'
import { Command, Option } from 'commander'
import { logFormats } from '../core/log.ts'
import type { Streams } from './output.ts'

/** The program without its commands: what every command line may have. */
export function defineProgram(streams: Streams): Command {
  return new Command('crosscloud')
    .description('One WAR, built once, baked once, promoted unchanged from test to production.')
    .addOption(
      new Option(
        '--settings <file>',
        'crosscloud.yml to use, or CROSSCLOUD_SETTINGS; default: in this folder',
      ),
    )
    .addOption(new Option('--json', 'print one JSON document; logs go to stderr'))
    .addOption(
      new Option('--dotenv <file>', 'write the outputs to a new file, as CROSSCLOUD_… lines'),
    )
    .addOption(
      new Option('--junit <file>', 'write what was found to a new file, as a JUnit report'),
    )
    .addOption(new Option('--verbose', 'say more'))
    .addOption(new Option('--log <format>', 'how to log').choices([...logFormats]))
    .addHelpText(
      'after',
      '\n`crosscloud --version` prints the version of this program.' +
        '\nInputs come from flags, then CROSSCLOUD_INPUTS (a JSON object of them), then' +
        '\nCROSSCLOUD_<INPUT> variables, then crosscloud.yml.' +
        '\nExit codes: 0 done, 2 bad input, 75 something did not answer, worth trying again, 1 anything else.',
    )
    .showHelpAfterError('(--help explains the command)')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeOut: streams.stdout, writeErr: streams.stderr })
    .exitOverride()
}

/** Not an option of commander's: `release --version 1.4.2` is the release's. */
export function asksForVersion(argv: readonly string[]): boolean {
  return argv.length === 1 && (argv[0] === '--version' || argv[0] === '-V')
}

export async function programVersion(): Promise<string> {
  const manifest = new URL('../../package.json', import.meta.url)
  return (JSON.parse(await readFile(manifest, 'utf8')) as { version: string }).version
}
