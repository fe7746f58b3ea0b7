import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type Docker from 'dockerode'
import { pack } from 'tar-stream'
import { replaceFile } from '../../../src/core/files/atomic-file.ts'
import { DEMO_SERVER_FOLDER } from '../folders.ts'
import { dockerRegistryUser } from '../servers/docker-registry.ts'
import { exec, type TestEngine } from '../servers/engine.ts'

/**
 * Makes a small image, pushes it and removes it from the engine again.
 * @returns its reference by digest
 */
export async function publishDemoImage(
  engine: Pick<TestEngine, 'docker'>,
  repository: string,
  version: string,
): Promise<string> {
  const { docker } = engine
  await importDemoImage(engine, repository, version)
  const image = docker.getImage(`${repository}:${version}`)
  const authconfig = { ...dockerRegistryUser, serveraddress: repository }
  const events = await finished(docker, await image.push({ authconfig }))
  const digest = events.map((event) => event.aux?.Digest).find((each) => each)
  if (!digest) throw new Error(`pushing ${repository}:${version}: ${JSON.stringify(events)}`)
  const byDigest = `${repository}@${digest}`
  await image.remove({ force: true })
  await docker
    .getImage(byDigest)
    .remove({ force: true })
    .catch(() => {})
  return byDigest
}

/** Makes the small image on the engine only, as `repository:version`. */
export async function importDemoImage(
  { docker }: Pick<TestEngine, 'docker'>,
  repository: string,
  version: string,
  more: readonly string[] = [],
): Promise<string> {
  const changes = [`ENV VERSION=${version}`, 'CMD ["/server"]', `LABEL version=${version}`, ...more]
  const files = (await demoFiles(version)) as Readable
  const imported = await docker.importImage(files, { repo: repository, tag: version, changes })
  await finished(docker, imported)
  return `${repository}:${version}`
}

interface EngineEvent {
  error?: string
  aux?: { Digest?: string }
}

function finished(docker: Docker, stream: NodeJS.ReadableStream): Promise<EngineEvent[]> {
  return new Promise((resolve, reject) => {
    docker.modem.followProgress(stream, (error: Error | null, events: EngineEvent[]) => {
      const failed = events?.find((event) => event.error)
      if (error || failed) reject(error ?? new Error(failed?.error))
      else resolve(events)
    })
  })
}

/** A root file system: the server below, an application of a few files, a hard link, one to /conf. */
async function demoFiles(version: string): Promise<unknown> {
  const tar = pack()
  for (const name of ['app/', 'app/ROOT/', 'app/ROOT/WEB-INF/', 'tmp/']) {
    tar.entry({ name, type: 'directory', mode: 0o755 })
  }
  tar.entry({ name: 'server', mode: 0o755 }, await demoServer())
  for (const [path, content] of Object.entries(demoApplication(version))) {
    tar.entry({ name: `app/ROOT/${path}`, mode: 0o644 }, content)
  }
  tar.entry({ name: 'app/ROOT/z-hard.txt', type: 'link', linkname: 'app/ROOT/index.html' })
  tar.entry({ name: 'linked', type: 'symlink', linkname: 'conf' })
  tar.finalize()
  return tar
}

/** Path below /app/ROOT and content; `z-hard.txt` is a hard link to index.html. */
export function demoApplication(version: string): Record<string, string> {
  return {
    'index.html': `<h1>demo ${version}</h1>`,
    'WEB-INF/web.xml': '<web-app/>',
    'WEB-INF/ünïcode name.txt': 'x'.repeat(100_000),
  }
}

let compiled: Promise<Buffer> | undefined

function demoServer(): Promise<Buffer> {
  compiled ??= keptServer()
  return compiled
}

/** Compiled once for all tests: a file's name says which source it was made from. */
async function keptServer(): Promise<Buffer> {
  const kept = join(DEMO_SERVER_FOLDER, createHash('sha256').update(SERVER).digest('hex'))
  return readFile(kept).catch(async () => {
    const made = await compile()
    await mkdir(DEMO_SERVER_FOLDER, { recursive: true })
    await replaceFile(kept, made, { mode: 0o644, durable: false })
    return made
  })
}

async function compile(): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'ccd-'))
  try {
    await writeFile(join(folder, 'server.c'), SERVER)
    await exec('gcc', ['-static', '-Os', '-o', join(folder, 'server'), join(folder, 'server.c')])
    return await readFile(join(folder, 'server'))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * Responds with 200 and its version on PORT. EXIT: ends at once with that code. EXIT_AFTER: seconds to
 * live. SICK: responds with 503. FAILS: with 500, but for /health. SLOW: seconds until it listens. FILE: prints that file first.
 * STOPPING: seconds from SIGTERM to its end. SAYS: prints that. HOG: takes memory until it is
 * ended; with a path, only where that file is. `cat FILE` prints a file. With other arguments it is a command: it prints the second, and
 * ends with the first after as many seconds as the third says.
 */
const SERVER = String.raw`
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static const char *env(const char *name, const char *other) { char *v = getenv(name); return v ? v : other; }
static void bye(int s) { int left = atoi(env("STOPPING", "0")); while (left) left = sleep(left); _exit(0); }
static void late(int s) { _exit(atoi(env("EXIT", "9"))); }
static int cat(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) { perror(path); return 1; }
  for (int c; (c = fgetc(file)) != EOF; ) putchar(c);
  return 0;
}
int main(int count, char **argument) {
  if (count > 2 && !strcmp(argument[1], "cat")) return cat(argument[2]);
  setvbuf(stdout, 0, _IOLBF, 0);
  signal(SIGTERM, bye);
  signal(SIGPIPE, SIG_IGN);
  printf("demo %s starts\n", env("VERSION", "?"));
  fprintf(stderr, "a line on stderr\n");
  if (getenv("FILE")) {
    char text[256] = "";
    FILE *file = fopen(getenv("FILE"), "r");
    if (file) fgets(text, sizeof text, file);
    printf("file: %s\n", file ? text : "none");
  }
  if (count > 2) {
    printf("command %s\n", argument[2]);
    sleep(count > 3 ? atoi(argument[3]) : 0);
    return atoi(argument[1]);
  }
  if (getenv("SAYS")) puts(getenv("SAYS"));
  const char *hog = getenv("HOG");
  if (hog && (*hog != '/' || !access(hog, F_OK))) for (;;) memset(malloc(1 << 20), 1, 1 << 20);
  if (getenv("EXIT_AFTER")) { signal(SIGALRM, late); alarm(atoi(getenv("EXIT_AFTER"))); }
  else if (getenv("EXIT")) { printf("ending with %s\n", getenv("EXIT")); return atoi(getenv("EXIT")); }
  sleep(atoi(env("SLOW", "0")));
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(atoi(env("PORT", "8080"))) };
  if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 16)) { perror("bind"); return 7; }
  for (;;) {
    char request[4096], response[512];
    int c = accept(listener, 0, 0);
    if (c < 0) continue;
    int length = read(c, request, sizeof request - 1);
    if (length > 0) {
      request[length] = 0;
      int fails = getenv("FAILS") && !strstr(request, "/health");
      const char *body = env("VERSION", "?");
      int n = snprintf(response, sizeof response, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
        getenv("SICK") ? "503 Sick" : fails ? "500 Fails" : "200 OK", strlen(body), body);
      write(c, response, n);
    }
    close(c);
  }
}
`
