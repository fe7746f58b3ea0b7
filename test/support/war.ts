import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { ZipFile } from 'yazl'

/** Writes a WAR with these files; the same content always gives the same bytes. */
export async function writeWar(
  path: string,
  files: Readonly<Record<string, string | Buffer>>,
  options: { compress?: boolean; date?: Date } = {},
): Promise<void> {
  const { compress = true, date = new Date('2026-01-02T03:04:06Z') } = options
  const zip = new ZipFile()
  for (const [name, content] of Object.entries(files)) {
    zip.addBuffer(Buffer.from(content), name, {
      compress,
      mtime: date,
      mode: 0o100644,
      forceDosTimestamp: true,
    })
  }
  zip.end()
  await pipeline(zip.outputStream, createWriteStream(path))
}
