import { spawn } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'
import { run } from '../../../src/core/process/process.ts'

export interface Repository {
  folder: string
  git(...args: string[]): Promise<string>
  /** Writes files and commits all there is; returns the commit. */
  commit(files: Readonly<Record<string, string>>, message?: string): Promise<string>
}

/** A repository of somebody, in a new folder; what was committed before stays in it. */
export async function makeRepository(folder: string, format = 'sha1'): Promise<Repository> {
  const settings = ['user.name=Li', 'user.email=li@example.com', 'protocol.file.allow=always']
  const git = async (...args: string[]) => {
    const all = [...settings.flatMap((setting) => ['-c', setting]), ...args]
    // Git LFS would fetch what these repositories only point to.
    return (await run('git', all, { cwd: folder, env: { GIT_LFS_SKIP_SMUDGE: '1' } })).stdout
  }
  await mkdir(folder, { recursive: true })
  await git('init', '--quiet', '--initial-branch=main', `--object-format=${format}`)
  return {
    folder,
    git,
    async commit(files, message = 'a change') {
      for (const [path, text] of Object.entries(files)) {
        await mkdir(dirname(join(folder, path)), { recursive: true })
        await writeFile(join(folder, path), text, { mode: 0o755 })
      }
      await git('add', '--all')
      await git('commit', '--quiet', '--allow-empty', '--message', message)
      return git('rev-parse', 'HEAD')
    },
  }
}

/**
 * git's own server for the repositories in a folder, on loopback; it notes who came with what. Only
 * who knows `pushPassword` may push.
 */
export async function startGitServer(
  t: Pick<Test, 'teardown'>,
  root: string,
  { pushPassword }: { pushPassword?: string } = {},
) {
  const authorizations: string[] = []
  const paths: string[] = []
  const server = createServer(async (request, response) => {
    const { pathname, search } = new URL(request.url ?? '/', 'http://localhost')
    authorizations.push(request.headers.authorization ?? '')
    paths.push(pathname)
    const user =
      pushPassword === undefined ? '' : userOf(request.headers.authorization, pushPassword)
    if (user === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end()
      return
    }
    const allowed = { GIT_CONFIG_KEY_0: 'uploadpack.allowFilter', GIT_CONFIG_VALUE_0: 'true' }
    const backend = spawn('git', ['http-backend'], {
      env: {
        PATH: process.env.PATH,
        GIT_PROJECT_ROOT: root,
        GIT_HTTP_EXPORT_ALL: '1',
        GIT_CONFIG_COUNT: '2',
        ...allowed,
        GIT_CONFIG_KEY_1: 'safe.directory',
        GIT_CONFIG_VALUE_1: '*',
        PATH_INFO: pathname,
        QUERY_STRING: search.slice(1),
        REMOTE_ADDR: '127.0.0.1',
        REQUEST_METHOD: request.method,
        CONTENT_TYPE: request.headers['content-type'],
        GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
        HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
        // git lets people with a name push.
        REMOTE_USER: user,
      },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    request.pipe(backend.stdin)
    // RFC 3875: headers, an empty line, the body.
    const output = await buffer(backend.stdout)
    const end = output.indexOf('\r\n\r\n')
    const headers = output.subarray(0, end).toString().split('\r\n')
    for (const [, name = '', value = ''] of headers.map(
      (line) => /^([^:]+): (.*)$/.exec(line) ?? [],
    )) {
      if (name === 'Status') response.statusCode = Number.parseInt(value, 10)
      else if (name !== '') response.setHeader(name, value)
    }
    response.end(output.subarray(end + 4))
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.teardown(() => new Promise((closed) => server.close(closed)))
  return { port: (server.address() as AddressInfo).port, authorizations, paths }
}

/** The name that came with the right password. */
function userOf(authorization = '', password: string): string | undefined {
  const [name, given] = Buffer.from(authorization.replace(/^Basic /, ''), 'base64')
    .toString()
    .split(':')
  return given === password ? name : undefined
}
