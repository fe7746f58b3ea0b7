import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { readTlsFiles } from '../../../src/core/files/tls-files.ts'
import { temporaryFolder } from '../../support/temporary.ts'

t.test('the files that settings name are read, and no other field', async (t) => {
  const folder = await temporaryFolder(t)
  await mkdir(join(folder, 'certs'))
  await writeFile(join(folder, 'certs', 'ca.pem'), 'the authority')
  const settings = { url: 'rediss://config', ca: 'certs/ca.pem', cert: undefined }
  t.strictSame(await readTlsFiles(settings, { folder, owner: 'queue.redis' }), {
    ca: 'the authority',
  })
})

t.test('a file that cannot be read is named with the setting it belongs to', async (t) => {
  const folder = await temporaryFolder(t)
  await t.rejects(readTlsFiles({ key: 'no.pem' }, { folder, owner: 'queue.redis' }), {
    code: 'NOT_FOUND',
    message: /^reading no\.pem of queue\.redis: /,
  })
})
