import { outliveReaders } from '../../core/process/signals.ts'

type Output = Pick<NodeJS.Process, 'stdout' | 'stderr' | 'exitCode'>

/**
 * From now on nothing ends because it cannot be printed.
 * @returns what ends the process with an exit code, once all is written or known to be lost
 */
export function watchOutput(process: Output): (exitCode: number) => Promise<void> {
  const { stdout, stderr } = process
  const unwritten = outliveReaders([stdout, stderr])
  return async (exitCode) => {
    await Promise.all([stdout, stderr].map(written))
    const problem = unwritten()
    process.exitCode = problem === undefined ? exitCode : exitCode || 1
    if (problem === undefined) return
    stderr.write(`error: what was done is done, but not all of it could be printed: ${problem}\n`)
  }
}

/** Whether all could be written is known once the last of it was, or could not be. */
const written = (stream: NodeJS.WriteStream) =>
  new Promise<void>((settled) => void stream.write('', () => settled()))
