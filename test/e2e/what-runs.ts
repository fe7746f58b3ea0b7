import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { pack } from 'tar-stream'
import { deploy } from '../../src/steps/deploy.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { verifyMd5 } from '../../src/steps/verify-md5.ts'
import type { Sandbox } from '../support/setups/sandbox.ts'

/** What verify-md5 sees of a container that a person or the application has changed. */
export async function whatRuns(t: Test, sandbox: Sandbox): Promise<void> {
  const within = async <T>(work: (context: ReturnType<Sandbox['context']>) => Promise<T>) => {
    const context = sandbox.context()
    try {
      return await work(context)
    } finally {
      await context.close()
    }
  }
  const put = (version: string) =>
    within((context) => runStep(deploy, { release: `webapi@${version}`, env: 'test' }, context))
  const verify = () => within((context) => runStep(verifyMd5, { env: 'test' }, context))
  /** Writes through the engine: files, and folders where the path ends in a slash. */
  const write = async (...paths: string[]) => {
    const tar = pack()
    for (const name of paths) {
      if (name.endsWith('/')) tar.entry({ name, type: 'directory', mode: 0o777 })
      else tar.entry({ name }, 'written later')
    }
    tar.finalize()
    const container = sandbox.engine.docker.getContainer('webapi-verified')
    await container.putArchive(tar as unknown as NodeJS.ReadableStream, { path: '/' })
  }

  await t.test(
    'verify-md5 names a changed file of the base image and counts temporary files',
    async (t) => {
      await sandbox.configure('sqlite:verified.db', '', 'name: webapi-verified')
      await sandbox.release('3.0.0')
      await put('3.0.0')
      t.match(await verify(), { warFiles: 2, imageFiles: 0, renderedFiles: 1, written: [] })
      await write('tmp/cache.bin', 'opt/', 'app/ROOT/')
      t.match(
        await verify(),
        { files: 3, written: [{ host: 'app-01', path: '/tmp', count: 1 }], volumes: [] },
        'an empty folder counts for nothing',
      )
      await write('app/ROOT/index.html', 'lib/', 'lib/agent.jar', 'other/index.html')
      await t.rejects(verify(), {
        code: 'VERIFY_FAILED',
        message:
          /is not what was baked .*\n {2}changed {2}\/app\/ROOT\/index\.html\n {2}added {4}\/lib\/agent\.jar\n {2}added {4}\/other\/index\.html$/,
        hint: /image\.writable/,
      })
    },
  )

  await t.test('verify-md5 counts what the application writes below image.writable', async (t) => {
    await writeFile(join(sandbox.folder, 'motd'), 'hello')
    await sandbox.release('3.0.1', undefined, {
      writable: ['/srv/web/uploads', '/srv/web/index.html', '/var/lib/webapi'],
      add: ['motd:/etc/motd'],
    })
    await put('3.0.1')
    t.match(await verify(), { warFiles: 2, imageFiles: 1, renderedFiles: 1, written: [] })
    await write('srv/web/uploads/a.png', 'srv/web/uploads/b.png', 'var/lib/webapi/db')
    t.match(await verify(), {
      warFiles: 2,
      written: [
        { path: '/srv/web/uploads', count: 2 },
        { path: '/var/lib/webapi', count: 1 },
      ],
    })
    await write('srv/web/index.html', 'srv/web/uploadsx', 'etc/motd')
    await t.rejects(verify(), {
      message: /:\n {2}extra {4}\/srv\/web\/uploadsx\n {2}changed {2}\/etc\/motd$/,
    })
  })

  await t.test('a path that holds the web application cannot be writable', async (t) => {
    for (const path of ['/srv/web', '/srv', '/srv/web/']) {
      await t.rejects(sandbox.release('3.0.2', undefined, { writable: [path] }), {
        code: 'INPUT_INVALID',
        message: /image\.writable: \S+ holds the whole web application/,
      })
    }
  })

  await t.test('a packaged web application is compared as its server unpacks it', async (t) => {
    await sandbox.release('3.0.3', undefined, { warLayout: 'packaged' })
    await put('3.0.3')
    t.match(await verify(), { warFiles: 1 }, 'no server unpacked it here')
    await write('srv/web/WEB-INF/web.xml', 'srv/web/META-INF/war-tracker')
    await t.rejects(verify(), {
      message:
        /:\n {2}changed {2}\/srv\/web\/META-INF\/war-tracker\n {2}changed {2}\/srv\/web\/WEB-INF\/web\.xml\n {2}missing {2}\/srv\/web\/index\.html$/,
    })
    await write('srv/web.war')
    await t.rejects(verify(), { message: /\n {2}changed {2}\/srv\/web\.war\n/ })
  })
}
