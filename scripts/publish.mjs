// The last job of .gitlab-ci.yml: pushes the tag that the job `package` made, uploads the tarball and
// makes the release that names both. Only Node's own modules: no dependency runs where the token is.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

/** What `package` leaves: the tag, as a git bundle. */
const BUNDLE = 'crosscloud-release.bundle'

/** The part of CHANGELOG.md that is about a version. */
export function changesOf(changelog, version) {
  const sections = changelog.split(/^## /m).slice(1)
  const found = sections.find((section) => /^\S+/.exec(section)?.[0] === version)
  if (found === undefined) throw new Error(`CHANGELOG.md has no section "## ${version}"`)
  return found.slice(found.indexOf('\n')).trim()
}

async function publish(env) {
  const { version } = JSON.parse(await readFile('package.json', 'utf8'))
  const description = changesOf(await readFile('CHANGELOG.md', 'utf8'), version)
  const [tag, file] = [`v${version}`, `crosscloud-${version}-standalone.tgz`]
  const project = `${env.CI_API_V4_URL}/projects/${env.CI_PROJECT_ID}`
  const url = `${project}/packages/generic/crosscloud/${version}/${file}`
  // The tag comes first: where another commit has it, nothing of a release is replaced.
  await pushTag(tag, env)
  await send('PUT', url, env, { body: await readFile(file) })
  const assets = { links: [{ name: file, url, link_type: 'package' }] }
  const release = { tag_name: tag, name: `crosscloud ${version}`, description, assets }
  const body = JSON.stringify(release)
  const headers = { 'content-type': 'application/json' }
  // 409: an earlier run of this job made it.
  await send('POST', `${project}/releases`, env, { body, headers, accept: [409] })
  console.log(`${tag} is released: ${env.CI_PROJECT_URL}/-/releases/${tag}`)
}

async function send(method, url, env, { body, headers = {}, accept = [] }) {
  const all = { 'job-token': env.CI_JOB_TOKEN, ...headers }
  const response = await fetch(url, { method, body, headers: all }).catch((error) => {
    throw new Error(`${method} ${url}: ${error.cause?.message ?? error.message}`)
  })
  if (response.ok || accept.includes(response.status)) return
  throw new Error(`${method} ${url}: ${response.status} ${(await response.text()).slice(0, 500)}`)
}

/** The token is in no argument and no file: git asks this command for it. */
const HELPER = '!f() { echo username=release; echo "password=${RELEASE_TOKEN:-$CI_JOB_TOKEN}"; }; f'

async function pushTag(tag, env) {
  const run = promisify(execFile)
  const ref = `refs/tags/${tag}`
  // An earlier job may have left hooks and helpers in the checkout's own git folder.
  const helper = `credential.${new URL(env.CI_PROJECT_URL).origin}.helper`
  const config = [
    ...['-c', 'core.hooksPath=/dev/null', '-c', 'credential.helper='],
    ...['-c', `${helper}=`, '-c', `${helper}=${HELPER}`],
  ]
  await run('git', ['fetch', '--quiet', '--no-tags', BUNDLE, `${ref}:${ref}`])
  await run('git', [...config, 'push', '--quiet', `${env.CI_PROJECT_URL}.git`, ref], {
    env: { ...env, GIT_TERMINAL_PROMPT: '0' },
  })
}

if (import.meta.filename === process.argv[1]) {
  await publish(process.env).catch((error) => {
    console.error(`error: ${error.message}`)
    process.exitCode = 1
  })
}
