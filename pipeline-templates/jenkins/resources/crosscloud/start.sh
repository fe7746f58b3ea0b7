# How a job starts crosscloud; docs/install.md explains it. Sets the function `crosscloud` up, from
#   crosscloud_command   what to run, split at spaces; or empty, then what is on the PATH; or else
#   crosscloud_package   address or absolute path of the standalone package, unpacked outside the
#   crosscloud_sha512    checkout once its SHA-512 is this
# No name is ever looked up in a registry, and nothing inside the checkout is believed.
# POSIX sh; for `sh -e`, and for bash with errexit and pipefail.

# The first crosscloud on the PATH, save in a relative folder or in the checkout: those hold what
# was pushed.
crosscloud_on_path() (
  set -f
  IFS=:
  checkout=$(pwd -P)
  above=$checkout
  while [ -n "$above" ] && [ ! -e "$above/.git" ]; do above=${above%/*}; done
  checkout=${above:-$checkout}
  for folder in $PATH; do
    case $folder in /*) ;; *) continue ;; esac
    folder=$(cd "$folder" 2>/dev/null && pwd -P) || continue
    case $folder/ in "$checkout"/*) continue ;; esac
    [ -f "$folder/crosscloud" ] && [ -x "$folder/crosscloud" ] || continue
    printf '%s\n' "$folder/crosscloud"
    exit 0
  done
  exit 1
)

# Gets the package, compares its SHA-512 and unpacks it into $1. What was fetched is kept for the
# next job of this machine, and compared again each time.
crosscloud_unpack() {
  CROSSCLOUD_PACKAGE=$crosscloud_package CROSSCLOUD_SHA512=$crosscloud_sha512 node -e '
    const { createHash } = require("node:crypto")
    const fs = require("node:fs")
    const path = require("node:path")
    const { CROSSCLOUD_PACKAGE: source, CROSSCLOUD_SHA512: wanted, HOME: home } = process.env
    const { XDG_CACHE_HOME, CI_API_V4_URL: api, CI_JOB_TOKEN: token } = process.env
    const target = path.join(process.argv[1], "package.tgz")
    const fail = (code, what, hint) => {
      console.error(`error: ${what}\n  → ${hint}`)
      process.exit(code)
    }
    const sha512 = (bytes) => createHash("sha512").update(bytes).digest("hex")
    const read = (file) => {
      try { return fs.readFileSync(file) } catch { return undefined }
    }
    const keep = (file, bytes) => {
      try {
        fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
        fs.writeFileSync(`${file}.${process.pid}`, bytes, { mode: 0o600 })
        fs.renameSync(`${file}.${process.pid}`, file)
      } catch {
        // A job without a home fetches it again.
      }
    }
    const fetchBytes = async () => {
      // A file in the package registry of the same GitLab is read with the token of the job.
      const own = api && token && source.startsWith(`${api}/`)
      const answer = await fetch(source, { headers: own ? { "JOB-TOKEN": token } : {} })
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`)
      return Buffer.from(await answer.arrayBuffer())
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
      const cache = XDG_CACHE_HOME || (home && path.join(home, ".cache"))
      const kept = cache && path.join(cache, "crosscloud", "packages", `${wanted}.tgz`)
      let bytes = kept && read(kept)
      if (!bytes || sha512(bytes) !== wanted) {
        if (source.startsWith("/")) {
          bytes = read(source)
          if (!bytes) fail(2, `${source} cannot be read`, "Mount it into the jobs, or give an address.")
        } else {
          bytes = await fetchBytes().catch((error) => {
            const why = error.cause?.message || error.message
            fail(75, `${source}: ${why}`, "Is the address right, and does the job reach it?")
          })
        }
        const found = sha512(bytes)
        if (found !== wanted) {
          fail(1, `${source} is not the package that was meant: its SHA-512 is ${found}`, `Wanted: ${wanted}.`)
        }
        if (kept && source.startsWith("http")) keep(kept, bytes)
      }
      fs.writeFileSync(target, bytes, { mode: 0o600, flag: "wx" })
    }
    main()
  ' -- "$1" || return $?
  # What a job that was killed left, in folders that only this user can have made.
  find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'crosscloud-job.*' -user "$(id -u)" -mtime +1 \
    -exec rm -rf {} + 2>/dev/null || :
  tar -xzof "$1/package.tgz" -C "$1" && rm "$1/package.tgz"
}

if [ -n "$crosscloud_command" ]; then
  crosscloud() (
    set -f
    unset IFS
    exec $crosscloud_command "$@"
  )
elif crosscloud_program=$(crosscloud_on_path); then
  crosscloud() { "$crosscloud_program" "$@"; }
elif [ -n "$crosscloud_package" ]; then
  crosscloud_status=0
  if crosscloud_folder=$(mktemp -d "${TMPDIR:-/tmp}/crosscloud-job.XXXXXXXX"); then
    trap 'rm -rf "$crosscloud_folder"' EXIT
    crosscloud_unpack "$crosscloud_folder" || crosscloud_status=$?
  else
    crosscloud_status=1
  fi
  crosscloud() {
    [ "$crosscloud_status" = 0 ] || return "$crosscloud_status"
    node "$crosscloud_folder/package/dist/cli/main.cjs" "$@"
  }
else
  crosscloud() {
    echo 'error: this job has no crosscloud: none is on its PATH, and no command and no package is given' >&2
    echo '  → Run it in the runner image, or set package and sha512: docs/install.md.' >&2
    return 2
  }
fi
