# How a job starts crosscloud; docs/install.md explains it. Sets the function `crosscloud` up, from
#   crosscloud_command   what to run, split at spaces; or empty, then what is on the PATH; or else
#   crosscloud_package   address or absolute path of the standalone package, unpacked outside the
#   crosscloud_sha512    checkout once its SHA-512 is this
# No name is ever looked up in a registry, and no program of the checkout is run.
# POSIX sh; for `sh -e`, and for bash with errexit and pipefail.

# The PATH without relative folders and those of the checkout: they hold what was pushed.
crosscloud_path=$(
  set -f
  IFS=:
  here=$(pwd -P)
  top=$here
  while [ -n "$top" ] && [ ! -e "$top/.git" ]; do top=${top%/*}; done
  kept=
  for folder in $PATH; do
    case $folder in /*) ;; *) continue ;; esac
    folder=$(cd "$folder" 2>/dev/null && pwd -P) || continue
    for checkout in "${top:-$here}" "${CI_PROJECT_DIR:-}" "${WORKSPACE:-}"; do
      checkout=$(cd "${checkout:-/nowhere}" 2>/dev/null && pwd -P) || continue
      [ "$checkout" != / ] || continue
      case $folder/ in "$checkout"/*) continue 2 ;; esac
    done
    kept=$kept${kept:+:}$folder
  done
  printf '%s' "$kept"
)

# Where a program is on that PATH.
crosscloud_find() (
  set -f
  IFS=:
  for folder in $crosscloud_path; do
    [ -f "$folder/$1" ] && [ -x "$folder/$1" ] || continue
    printf '%s' "$folder/$1"
    exit 0
  done
  exit 1
)

crosscloud_node=$(crosscloud_find node) || crosscloud_node=node

# Gets the package, compares its SHA-512, unpacks it and prints the folder. What was fetched is kept
# for the next job of this machine, and compared again each time.
crosscloud_unpack() {
  CROSSCLOUD_PACKAGE=$crosscloud_package CROSSCLOUD_SHA512=$crosscloud_sha512 "$crosscloud_node" -e '
    const { createHash } = require("node:crypto")
    const fs = require("node:fs")
    const os = require("node:os")
    const path = require("node:path")
    const { gunzipSync } = require("node:zlib")
    const { CROSSCLOUD_PACKAGE: source, CROSSCLOUD_SHA512: wanted, HOME: home } = process.env
    const { XDG_CACHE_HOME, CI_API_V4_URL: api, CI_JOB_TOKEN: token } = process.env
    const PREFIX = "crosscloud-job."
    const DAY = 24 * 3600 * 1000

    const fail = (code, what, hint) => {
      console.error(`error: ${what}\n  → ${hint}`)
      process.exit(code)
    }
    const attempt = (work) => {
      try { return work() } catch { return undefined }
    }
    const sha512 = (bytes) => createHash("sha512").update(bytes).digest("hex")

    const keep = (file, bytes) => {
      const partial = `${file}.${process.pid}`
      // A job that cannot keep it fetches it again.
      const kept = attempt(() => {
        fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
        fs.writeFileSync(partial, bytes, { mode: 0o600 })
        fs.renameSync(partial, file)
        return true
      })
      if (!kept) attempt(() => fs.rmSync(partial, { force: true }))
    }
    const fetchBytes = async () => {
      console.error(`getting ${source}`)
      // A file in the package registry of the same GitLab is read with the token of the job.
      const own = api && token && source.startsWith(`${api}/`)
      const headers = own ? { "JOB-TOKEN": token } : {}
      const answer = await fetch(source, { headers, signal: AbortSignal.timeout(120_000) })
      if (answer.ok) return Buffer.from(await answer.arrayBuffer())
      const final = answer.status >= 400 && answer.status < 500 && ![408, 429].includes(answer.status)
      fail(final ? 2 : 75, `${source}: HTTP ${answer.status}`, "Is the address right, and may the job read it?")
    }
    const get = async () => {
      if (source.startsWith("/")) {
        const bytes = attempt(() => fs.readFileSync(source))
        return bytes || fail(2, `${source} cannot be read`, "Mount it into the jobs, or give an address.")
      }
      return await fetchBytes().catch((error) => {
        const why = (error.cause && error.cause.message) || error.message
        fail(75, `${source}: ${why}`, "Does the job reach it?")
      })
    }
    const packageBytes = async () => {
      const cache = XDG_CACHE_HOME || (home && path.join(home, ".cache"))
      const file = cache && path.join(cache, "crosscloud", "packages", `${wanted}.tgz`)
      const kept = file && attempt(() => fs.readFileSync(file))
      if (kept && sha512(kept) === wanted) return kept
      const bytes = await get()
      const found = sha512(bytes)
      if (found !== wanted) {
        fail(1, `${source} is not the package that was meant: its SHA-512 is ${found}`, `Wanted: ${wanted}.`)
      }
      if (file && !source.startsWith("/")) keep(file, bytes)
      return bytes
    }

    // The checkout may name its own folder as TMPDIR.
    const temporaryFolder = () => {
      const named = attempt(() => fs.realpathSync(os.tmpdir())) || os.tmpdir()
      const inside = !path.relative(fs.realpathSync("."), named).startsWith("..")
      return inside ? "/tmp" : named
    }
    // What a job that was killed left; only this user can have made it.
    const removeOld = (folder) => {
      for (const name of attempt(() => fs.readdirSync(folder)) || []) {
        if (!name.startsWith(PREFIX)) continue
        const found = attempt(() => fs.lstatSync(path.join(folder, name)))
        if (!found || !found.isDirectory() || found.uid !== process.getuid()) continue
        if (Date.now() - found.mtimeMs < DAY) continue
        attempt(() => fs.rmSync(path.join(folder, name), { recursive: true, force: true }))
      }
    }
    // Files with short names only, as `npm run package` writes them.
    const unpack = (tar, folder) => {
      for (let at = 0; tar[at]; ) {
        const text = (from, length) => tar.toString("utf8", at + from, at + from + length).split("\0")[0]
        const size = parseInt(text(124, 12), 8)
        const file = path.join(folder, text(0, 100))
        fs.mkdirSync(path.dirname(file), { recursive: true })
        fs.writeFileSync(file, tar.subarray(at + 512, at + 512 + size))
        at += 512 + Math.ceil(size / 512) * 512
      }
    }
    const main = async () => {
      if (Number(process.versions.node.split(".")[0]) < 20) {
        fail(2, `Node ${process.versions.node} is too old`, "Run the job where Node 20 or newer is.")
      }
      if (!/^[0-9a-f]{128}$/.test(wanted)) {
        fail(2, "the SHA-512 of the package is not given", "`npm run package` printed it: 128 hex digits.")
      }
      if (!/^(https?:\/\/|\/)/.test(source)) {
        fail(2, `${source} is no address and no absolute path`, "Write https://… or /….")
      }
      const bytes = await packageBytes()
      const temporary = temporaryFolder()
      removeOld(temporary)
      let folder
      try {
        folder = fs.mkdtempSync(path.join(temporary, PREFIX))
        unpack(gunzipSync(bytes), folder)
        process.stdout.write(folder)
      } catch (error) {
        if (folder) attempt(() => fs.rmSync(folder, { recursive: true, force: true }))
        fail(1, `crosscloud cannot be unpacked in ${temporary}: ${error.message}`, "Make room there, or name another folder in TMPDIR.")
      }
    }
    main()
  '
}

if [ -n "$crosscloud_command" ]; then
  crosscloud() (
    set -f
    unset IFS
    set -- $crosscloud_command "$@"
    case $1 in
      */*) exec "$@" ;;
    esac
    if ! crosscloud_program=$(crosscloud_find "$1"); then
      echo "error: $1 is not on the PATH of this job; folders of the checkout do not count" >&2
      exit 127
    fi
    shift
    exec "$crosscloud_program" "$@"
  )
elif crosscloud_program=$(crosscloud_find crosscloud); then
  crosscloud() {
    # npm's programs ask `env` for node, which goes by the PATH of the job.
    case $(head -n 1 "$crosscloud_program" | tr -d '\0') in
      '#!/usr/bin/env node'*) "$crosscloud_node" "$crosscloud_program" "$@" ;;
      *) "$crosscloud_program" "$@" ;;
    esac
  }
elif [ -n "$crosscloud_package" ]; then
  crosscloud_status=0
  crosscloud_folder=$(crosscloud_unpack) || crosscloud_status=$?
  # A shell that a signal ends runs no EXIT trap, unless the signal has one.
  trap '[ -z "$crosscloud_folder" ] || rm -rf "$crosscloud_folder"' EXIT
  trap 'exit 143' TERM HUP
  trap 'exit 130' INT
  crosscloud() {
    [ "$crosscloud_status" = 0 ] || return "$crosscloud_status"
    "$crosscloud_node" "$crosscloud_folder/package/dist/cli/main.cjs" "$@"
  }
else
  crosscloud() {
    echo 'error: this job has no crosscloud: none is on its PATH, and no command and no package is given' >&2
    echo '  → Run it in the runner image, install the package on the machine of the runner, or give the package' >&2
    echo '    with its SHA-512 (in Jenkins CROSSCLOUD_PACKAGE and CROSSCLOUD_PACKAGE_SHA512): docs/install.md.' >&2
    return 2
  }
fi
