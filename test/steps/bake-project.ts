import { mkdir, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { writeSample } from '../support/data/layers.ts'
import { temporaryFolder } from '../support/temporary.ts'

export const APP = { app: 'webapi', war: 'webapi.war', webapp: '/srv/webapps/ROOT' }
export const templates: Record<string, string> = {
  'deploy/conf.d/webapi.toml':
    '[template]\nsrc = "webapi.hbs"\ndest = "/etc/webapi.properties"\nkeys = ["/webapi"]\n',
  'deploy/templates/webapi.hbs': 'greeting={{getv "/webapi/greeting"}}\n',
}

/** A project with a WAR and templates; what is in it is as old as `date`. */
export async function project(t: Test, date?: Date): Promise<string> {
  const folder = await temporaryFolder(t)
  await writeSample(join(folder, 'webapi.war'))
  for (const [path, text] of Object.entries(templates)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
    if (date) await utimes(join(folder, path), date, date)
  }
  if (date) await utimes(join(folder, 'webapi.war'), date, date)
  return folder
}
