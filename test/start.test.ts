import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { padding, tarEnd, tarHeader } from '../src/image/tar.ts'
import { findProgram, missingProgram } from './support/servers/server.ts'

const START = await readFile(join(import.meta.dirname, '../pipeline-templates/start.sh'), 'utf8')

/** The shells of CI jobs; GitLab's runner gives bash a script to evaluate in a pipe. */
const shells: readonly { name: string; skip: string | false; command(script: string): string[] }[] =
  [
    {
      name: 'dash',
      skip: missingProgram('dash'),
      command: (script) => ['dash', '-xe', '-c', script],
    },
    {
      name: 'busybox',
      skip: missingProgram('busybox'),
      command: (script) => ['busybox', 'sh', '-e', '-c', script],
    },
    {
      name: 'bash as GitLab Runner starts it',
      skip: missingProgram('bash'),
      command: (script) => [
        'bash',
        '-c',
        `set -o pipefail; set -o errexit\n: | eval '${script.replaceAll("'", "'\\''")}'\nexit 0`,
      ],
    },
  ]

interface Job {
  command?: string
  package?: string
  sha512?: string
  /** What the job does with it. */
  line?: string
  variables?: Record<string, string>
}

/** A checkout with a home and a folder for temporary files beside it, and how a job runs in it. */
async function makeMachine(t: Test, shell: (typeof shells)[number]) {
  const folder = t.testdir({ checkout: { '.git': {} }, home: {}, tmp: {}, bin: {} })
  const checkout = join(folder, 'checkout')
  const start = ({
    command = '',
    line = 'crosscloud one "two  three" || exit $?',
    ...job
  }: Job) => {
    const script = [
      `crosscloud_command='${command}'`,
      `crosscloud_package='${job.package ?? ''}'`,
      `crosscloud_sha512='${job.sha512 ?? ''}'`,
      START,
      line,
    ].join('\n')
    const [program = '', ...args] = shell.command(script)
    return spawn(findProgram(program) ?? program, args, {
      cwd: checkout,
      detached: true,
      env: {
        PATH: `${dirname(process.execPath)}:/usr/bin:/bin`,
        HOME: join(folder, 'home'),
        TMPDIR: join(folder, 'tmp'),
        ...job.variables,
      },
    })
  }
  const run = async (job: Job) => {
    const child = start(job)
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close'),
    ])
    return { code: code as number, stdout: stdout.trim(), stderr }
  }
  const addProgram = async (path: string, says: string, code = 0) => {
    const file = join(folder, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, `#!/bin/sh\necho ${says} "$#"\nexit ${code}\n`)
    await chmod(file, 0o755)
    return file
  }
  return { folder, checkout, run, start, addProgram }
}

/** A package whose program tells where it is, what it was given, and ends with this code. */
function makePackage(code = 0, ends = `process.exit(${code})`) {
  const program = Buffer.from(
    `console.log('packed', process.argv.length - 2, process.cwd(), __filename)\n${ends}\n`,
  )
  const path = 'package/dist/cli/main.cjs'
  const header = tarHeader({ path, type: 'file', mode: 0o755, size: program.length })
  const bytes = gzipSync(Buffer.concat([header, program, padding(program.length), tarEnd()]))
  return { bytes, sha512: createHash('sha512').update(bytes).digest('hex') }
}

async function serveFiles(t: Test, files: Record<string, Buffer>) {
  const requests: { url: string | undefined; headers: IncomingHttpHeaders }[] = []
  const server = createServer(({ url, headers }, response) => {
    requests.push({ url, headers })
    const file = files[url ?? '']
    response.writeHead(file ? 200 : 404).end(file)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { requests, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

for (const shell of shells) {
  await t.test(`a job gets crosscloud: ${shell.name}`, { skip: shell.skip }, async (t) => {
    await t.test('the given command comes first, split at spaces, read by no shell', async (t) => {
      const { run, addProgram, folder } = await makeMachine(t, shell)
      await addProgram('bin/crosscloud', 'found')
      const given = await addProgram('bin/given', 'given', 75)
      const PATH = `${join(folder, 'bin')}:${process.env.PATH}`
      const done = await run({ command: `${given} * $(touch\${IFS}x) a`, variables: { PATH } })
      t.match(done, { code: 75, stdout: 'given 5' }, 'and its exit code is the job’s')
      await addProgram('checkout/bin/given', 'committed')
      const [inside, bin] = [join(folder, 'checkout/bin'), join(folder, 'bin')]
      const named = await run({
        command: 'given',
        variables: { PATH: `${inside}:bin:${bin}:${process.env.PATH}` },
      })
      t.match(named, { code: 75, stdout: 'given 2' }, 'a name is not looked up in the checkout')
      t.match(await run({ command: 'no-such-program' }), {
        code: 127,
        stderr: /is not on the PATH/,
      })
    })

    await t.test('then the one on the PATH, never one of the checkout', async (t) => {
      const { run, addProgram, folder, checkout } = await makeMachine(t, shell)
      await addProgram('checkout/node_modules/.bin/crosscloud', 'committed')
      await addProgram('checkout/crosscloud', 'committed')
      const inside = `${checkout}/node_modules/.bin:node_modules/.bin:.::${checkout}/../checkout`
      const rest = process.env.PATH ?? ''
      const none = await run({ variables: { PATH: `${inside}:${rest}` } })
      t.equal(none.code, 2)
      t.match(none.stderr, 'error: this job has no crosscloud')
      t.match(none.stderr, /→ [\s\S]*docs\/install\.md/)
      await addProgram('bin/crosscloud', 'found', 75)
      const PATH = `${inside}:${join(folder, 'bin')}:${rest}`
      t.match(await run({ variables: { PATH } }), { code: 75, stdout: 'found 2' })
      const below = 'mkdir -p deep/er; cd deep/er; crosscloud'
      t.match(await run({ line: below, variables: { PATH } }), { stdout: 'found 0' })
      await mkdir(join(checkout, 'deep/er/.git'))
      const CI_PROJECT_DIR = checkout
      t.match(await run({ line: below, variables: { PATH, CI_PROJECT_DIR } }), {
        stdout: 'found 0',
      })
      const variables = { PATH, CROSSCLOUD_COMMAND: 'false', CROSSCLOUD_PACKAGE: '/x' }
      t.match(await run({ variables }), { stdout: 'found 2' }, 'variables choose nothing')
    })

    await t.test('node comes from outside the checkout, too', async (t) => {
      const { run, addProgram, folder, checkout } = await makeMachine(t, shell)
      await addProgram('checkout/bin/node', 'committed')
      const installed = await addProgram('bin/crosscloud', 'found')
      await writeFile(installed, "#!/usr/bin/env node\nconsole.log('a program of npm')\n")
      const PATH = `${checkout}/bin:${join(folder, 'bin')}:${process.env.PATH}`
      t.match(await run({ variables: { PATH } }), { code: 0, stdout: 'a program of npm' })
      const { bytes, sha512 } = makePackage()
      const file = join(folder, 'crosscloud.tgz')
      await writeFile(file, bytes)
      const inside = { PATH: `${checkout}/bin:${process.env.PATH}` }
      t.match(await run({ package: file, sha512, variables: inside }), { stdout: /^packed 2 / })
    })

    await t.test('then the package, compared and unpacked outside the checkout', async (t) => {
      const { run, folder, checkout } = await makeMachine(t, shell)
      const { bytes, sha512 } = makePackage(75)
      const file = join(folder, 'crosscloud.tgz')
      await writeFile(file, bytes)
      const done = await run({ package: file, sha512 })
      t.equal(done.code, 75, done.stderr)
      const [, given, cwd, program = ''] = done.stdout.split(' ')
      t.strictSame([given, cwd], ['2', checkout])
      t.ok(program.startsWith(join(folder, 'tmp', 'crosscloud-job.')), program)
      t.strictSame(await readdir(join(folder, 'tmp')), [], 'nothing stays behind')
      t.strictSame(await readdir(checkout), ['.git'])

      const other = await run({ package: file, sha512: sha512.replace(/.$/, 'x') })
      t.equal(other.code, 2)
      t.match(other.stderr, 'the SHA-512 of the package is not given')
      const wrong = await run({ package: file, sha512: '0'.repeat(128) })
      t.equal(wrong.code, 1)
      t.match(wrong.stderr, `its SHA-512 is ${sha512}`)
      t.equal((await run({ package: 'crosscloud.tgz', sha512 })).code, 2, 'no relative path')
      t.equal((await run({ package: '/absent.tgz', sha512 })).code, 2)
      const TMPDIR = join(folder, 'absent')
      const nowhere = await run({ package: file, sha512, variables: { TMPDIR } })
      t.equal(nowhere.code, 1)
      t.match(nowhere.stderr, `error: crosscloud cannot be unpacked in ${TMPDIR}: ENOENT`)
      await mkdir(join(checkout, 'tmp'))
      const within = { TMPDIR: join(checkout, 'tmp') }
      const elsewhere = await run({ package: file, sha512, variables: within })
      t.match(elsewhere.stdout, / \/tmp\/crosscloud-job\./)
    })

    await t.test('a cancelled job leaves nothing behind', async (t) => {
      const { folder, start } = await makeMachine(t, shell)
      const { bytes, sha512 } = makePackage(0, 'setTimeout(() => {}, 60_000)')
      const file = join(folder, 'crosscloud.tgz')
      await writeFile(file, bytes)
      const job = start({ package: file, sha512 })
      // The shell that evaluates the script outlives the one that started it: it is over when nobody
      // holds its output any more.
      const ended = once(job, 'close')
      await once(job.stdout, 'data')
      process.kill(-(job.pid ?? 0), 'SIGTERM')
      job.stdout.resume()
      job.stderr.resume()
      await ended
      t.strictSame(await readdir(join(folder, 'tmp')), [])
    })

    await t.test('an address is asked once; what was kept is compared each time', async (t) => {
      const { run, folder } = await makeMachine(t, shell)
      const { bytes, sha512 } = makePackage()
      const { url, requests } = await serveFiles(t, {
        '/api/v4/crosscloud.tgz': bytes,
        '/other.tgz': Buffer.from('something else'),
      })
      const token = { CI_API_V4_URL: `${url}/api/v4`, CI_JOB_TOKEN: 'the token of the job' }
      const job = { package: `${url}/api/v4/crosscloud.tgz`, sha512, variables: token }
      t.match(await run(job), { code: 0, stdout: /^packed 2 / })
      t.equal(requests[0]?.headers['job-token'], 'the token of the job')
      t.match(await run(job), { code: 0, stdout: /^packed 2 / })
      t.equal(requests.length, 1)

      const kept = join(folder, 'home/.cache/crosscloud/packages', `${sha512}.tgz`)
      await writeFile(kept, 'changed by somebody')
      t.match(await run(job), { code: 0, stdout: /^packed 2 / })
      t.equal(requests.length, 2)
      t.strictSame(await readFile(kept), bytes)

      const stranger = await run({ ...job, package: `${url}/other.tgz`, sha512: '1'.repeat(128) })
      t.equal(stranger.code, 1)
      t.notOk(requests[2]?.headers['job-token'], 'the token goes to its own GitLab only')
      const absent = await run({ ...job, package: `${url}/absent.tgz`, sha512: '1'.repeat(128) })
      t.equal(absent.code, 2, 'trying again would not help')
      t.match(absent.stderr, 'HTTP 404')
    })

    await t.test('what a killed job left is removed a day later', async (t) => {
      const { run, folder } = await makeMachine(t, shell)
      const { bytes, sha512 } = makePackage()
      const file = join(folder, 'crosscloud.tgz')
      await writeFile(file, bytes)
      for (const name of ['crosscloud-job.old', 'crosscloud-job.new', 'another.old']) {
        await mkdir(join(folder, 'tmp', name))
      }
      const before = new Date(Date.now() - 3 * 24 * 3600 * 1000)
      for (const name of ['crosscloud-job.old', 'another.old']) {
        await utimes(join(folder, 'tmp', name), before, before)
      }
      t.equal((await run({ package: file, sha512 })).code, 0)
      t.strictSame((await readdir(join(folder, 'tmp'))).sort(), [
        'another.old',
        'crosscloud-job.new',
      ])
    })
  })
}
