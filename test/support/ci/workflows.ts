import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

export interface WrittenWorkflow {
  page: string
  /** `deliver.yml` */
  file: string
  text: string
}

/** Every workflow that README and docs hand out, as it stands there. */
export async function writtenWorkflows(): Promise<WrittenWorkflow[]> {
  const docs = (await readdir(join(ROOT, 'docs'))).filter((name) => name.endsWith('.md'))
  const pages = ['README.md', 'README.zh-CN.md', ...docs.map((name) => `docs/${name}`)]
  const found: WrittenWorkflow[] = []
  for (const page of pages) {
    const markdown = await readFile(join(ROOT, page), 'utf8')
    const fence = /^```yaml\n(# \.github\/workflows\/(\S+)\n[\s\S]*?)^```$/gm
    for (const [, text = '', file = ''] of markdown.matchAll(fence)) {
      found.push({ page, file, text })
    }
  }
  return found
}
