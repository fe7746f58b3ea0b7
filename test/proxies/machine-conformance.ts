import type { Test } from 'tap'
import {
  exists,
  exitedWith,
  isLink,
  readText,
  remove,
  rename,
  writeText,
} from '../../src/proxies/machine/files.ts'
import type { Machine } from '../../src/proxies/machine/machine.ts'

/** What every way to a machine must do; `folder` is an empty one there. */
export async function machineConformance(t: Test, machine: Machine, folder: string): Promise<void> {
  await t.test('arguments arrive as they are', async (t) => {
    const odd = [`it's "$(id)"`, '; exit 3', '*', '\\', '{{x}}', 'ä €', '-n', '']
    t.equal(await machine.run(['printf', '%s|', ...odd]), `${odd.join('|')}|`)
  })

  await t.test('an exit code that is not 0 is an error with what was printed', async (t) => {
    const failed = await machine.run(['cat', `${folder}/none`]).catch((error: unknown) => error)
    t.ok(exitedWith(failed, 1))
    t.match(failed, { code: 'COMMAND_FAILED', message: /cat .*none exited with 1\n.*No such file/ })
    await t.rejects(machine.run(['no-such-program']), {
      code: 'NOT_FOUND',
      message: /no-such-program: no such program/,
    })
  })

  await t.test('a program that does not end is not waited for', async (t) => {
    await t.rejects(machine.run(['sleep', '60'], { timeout: 500 }), {
      // ssh exits with 255 when it is ended, as without a connection.
      message: /sleep|ssh: /,
    })
  })

  await t.test('files are written, read, renamed and removed', async (t) => {
    const path = `${folder}/a.conf`
    t.equal(await readText(machine, path), undefined)
    const text = `first\n${'long\n'.repeat(20_000)}last`
    await writeText(machine, `${path}.next`, text)
    await rename(machine, `${path}.next`, path)
    t.equal(await readText(machine, path), text)
    t.notOk(await exists(machine, `${path}.next`))
    await writeText(machine, path, '')
    t.equal(await readText(machine, path), '')
    const other = `${folder}/other`
    await writeText(machine, other, 'of others')
    for (const target of [other, `${folder}/nowhere`]) {
      await machine.run(['ln', '-sf', target, path])
      t.ok(await isLink(machine, path))
      await writeText(machine, path, 'own')
      t.notOk(await isLink(machine, path), 'a link is replaced, not followed')
    }
    t.equal(await readText(machine, path), 'own')
    t.equal(await readText(machine, other), 'of others')
    t.notOk(await exists(machine, `${folder}/nowhere`))
    await remove(machine, other)
    await remove(machine, path)
    await remove(machine, path)
    t.notOk(await exists(machine, path))
  })
}
