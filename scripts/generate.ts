import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { renderGeneratedFiles } from './generated-files.ts'

const root = process.cwd()
for (const [path, text] of await renderGeneratedFiles(root)) {
  await mkdir(dirname(join(root, path)), { recursive: true })
  await writeFile(join(root, path), text)
}
