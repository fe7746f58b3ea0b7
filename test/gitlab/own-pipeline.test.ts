import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import { execa } from 'execa'
import t from 'tap'
import { parse } from 'yaml'
import { run } from '../../src/core/process/process.ts'
import { sourceRepository } from '../support/ci/release.ts'
import { startGitServer } from '../support/servers/git.ts'
import { temporaryFolder } from '../support/temporary.ts'

t.setTimeout(280_000)
const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const SCHEMA = join(ROOT, 'test/contracts/gitlab-ci-schema.json')
const pipeline = parse(await readFile(join(ROOT, '.gitlab-ci.yml'), 'utf8'))
const manifest = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))

await t.test("this repository's pipeline passes GitLab's own schema", async (t) => {
  const ajv = new Ajv({ strict: false, allErrors: true })
  addFormats.default(ajv)
  const valid = ajv.compile(JSON.parse(await readFile(SCHEMA, 'utf8')))
  t.ok(valid(pipeline), JSON.stringify(valid.errors?.slice(0, 5)))
  t.notOk(valid({ ...pipeline, release: { stage: 1 } }), 'the schema refuses what is wrong')
})

await t.test(
  'a person releases, from the default branch, and one job gets the token',
  async (t) => {
    const onDefaultBranch = '$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH'
    t.strictSame(pipeline.package.rules, [
      { if: onDefaultBranch, when: 'manual', allow_failure: true },
    ])
    t.strictSame(pipeline.release.rules, [{ if: onDefaultBranch }])
    t.strictSame(pipeline.release.needs, ['package'])
    const { image: _image, stages: _stages, ...jobs } = pipeline
    const inEnvironment = Object.keys(jobs).filter((name) => jobs[name].environment !== undefined)
    t.strictSame(inEnvironment, ['release'])
    t.notMatch(pipeline.release.script.join('\n'), /npm|npx/, 'no dependency runs there')
  },
)

await t.test('every npm command of the pipeline is a script of package.json', async (t) => {
  const words = JSON.stringify(pipeline)
  for (const [, name = ''] of words.matchAll(/npm run ([\w:-]+)/g))
    t.ok(manifest.scripts[name], name)
})

interface Call {
  method: string | undefined
  path: string | undefined
  token: unknown
  body: string
}

/** Records what the job sends to GitLab (docs.gitlab.com/api/releases, …/user/packages). */
async function startApi(t: Tap, statuses: number[]) {
  const calls: Call[] = []
  const server = createServer(async (request, response) => {
    const { method, url: path, headers } = request
    calls.push({ method, path, token: headers['job-token'], body: await text(request) })
    response.writeHead(statuses.shift() ?? 500).end('{"message":"refused"}')
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.teardown(() => new Promise((closed) => server.close(closed)))
  return { calls, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

type Tap = Pick<typeof t, 'teardown'>

await t.test('publish pushes the tag, uploads the tarball and makes the release', async (t) => {
  const { folder, git, release } = await sourceRepository(t)
  const { version } = manifest
  const tag = `v${version}`
  const root = await temporaryFolder(t)
  const origin = join(root, 'platform/crosscloud.git')
  await mkdir(origin, { recursive: true })
  await run('git', ['init', '--quiet', '--bare', origin])
  const server = await startGitServer(t, root, { pushPassword: 'glpat-release' })
  const made = await release()
  t.equal(made.code, 0, made.stderr)
  const commit = await git('rev-parse', tag)
  await git('bundle', 'create', 'crosscloud-release.bundle', tag, '^HEAD')
  // The next job has the checkout and the artifacts, and no tag.
  await git('tag', '--delete', tag)
  await writeFile(join(folder, `crosscloud-${version}-standalone.tgz`), 'a tarball')

  const publish = (api: string, token: string) =>
    execa(process.execPath, ['scripts/publish.mjs'], {
      cwd: folder,
      reject: false,
      env: {
        CI_API_V4_URL: `${api}/api/v4`,
        CI_PROJECT_ID: '42',
        CI_PROJECT_URL: `http://127.0.0.1:${server.port}/platform/crosscloud`,
        CI_JOB_TOKEN: 'a-job-token',
        RELEASE_TOKEN: token,
      },
    })
  const refused = await publish((await startApi(t, [201])).url, 'glpat-wrong')
  t.equal(refused.exitCode, 1)
  t.match(refused.stderr, /^error: /)
  t.notMatch(refused.stderr + refused.stdout, /glpat-|a-job-token/, 'no token is printed')

  const api = await startApi(t, [201, 201, 200, 409])
  const published = await publish(api.url, 'glpat-release')
  t.equal(published.exitCode, 0, published.stderr)
  const { stdout: tags } = await run('git', ['ls-remote', '--tags', origin])
  t.equal(tags.trim(), `${commit}\trefs/tags/${tag}`)
  const [upload, released] = api.calls
  const path = `/api/v4/projects/42/packages/generic/crosscloud/${version}/crosscloud-${version}-standalone.tgz`
  t.strictSame(upload, { method: 'PUT', path, token: 'a-job-token', body: 'a tarball' })
  t.match(released, { method: 'POST', path: '/api/v4/projects/42/releases', token: 'a-job-token' })
  const body = JSON.parse(released?.body ?? '{}')
  t.match(body, { tag_name: tag, assets: { links: [{ url: `${api.url}${path}` }] } })
  t.ok(body.description, 'its part of CHANGELOG.md')

  const again = await publish(api.url, 'glpat-release')
  t.equal(again.exitCode, 0, again.stderr)
})

await t.test('the changelog says what a version changed, or the release stops', async (t) => {
  const { changesOf } = await import('../../scripts/publish.mjs')
  const changelog =
    '# Changelog\n\n## Unreleased\n\n- c\n\n## 0.2.0 (May 2027)\n\n- b\n\n## 0.1.0\n\n- a\n'
  t.equal(changesOf(changelog, '0.2.0'), '- b')
  t.equal(changesOf(changelog, '0.1.0'), '- a')
  t.throws(() => changesOf(changelog, '0.3.0'), { message: /no section "## 0\.3\.0"/ })
  t.ok(changesOf(await readFile(join(ROOT, 'CHANGELOG.md'), 'utf8'), manifest.version))
})
