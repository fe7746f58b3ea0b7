import { createHash, type Hash } from 'node:crypto'
import { readSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { Transform } from 'node:stream'
import { setImmediate as yieldToEventLoop } from 'node:timers/promises'
import { StepError, throwIfCancelled } from './errors.ts'

const CHUNK = 1 << 20

/** `sha256:` and 64 hex digits (OCI image-spec, descriptor.md, "Digests"). */
export type Digest = `sha256:${string}`

const DIGEST = /^sha256:[0-9a-f]{64}$/

export function isDigest(text: string): text is Digest {
  return DIGEST.test(text)
}

export function parseDigest(text: string, what = 'digest'): Digest {
  if (isDigest(text)) return text
  throw new StepError('INPUT_INVALID', `${what}: "${text}" is not a digest`, {
    hint: 'A digest is sha256: and 64 lower-case hex digits.',
  })
}

export function sha256(bytes: string | Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** A digest for display: `sha256:` and twelve digits. */
export function shortDigest(digest: string): string {
  return digest.slice(0, 'sha256:'.length + 12)
}

export interface FileDigests {
  /** bytes */
  size: number
  /** hex */
  md5: string
  /** hex */
  sha256: string
}

/**
 * Chunks of a part of an open file, read synchronously: the thread pool costs more than the read.
 */
export async function* readChunks(
  fd: number,
  start: number,
  length: number,
): AsyncGenerator<Buffer> {
  // All chunks share one buffer: a chunk is valid until the next is requested.
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK, Math.max(length, 1)))
  for (let done = 0; done < length; ) {
    const size = readSync(fd, buffer, 0, Math.min(buffer.length, length - done), start + done)
    if (size === 0) return
    done += size
    yield buffer.subarray(0, size)
    // Signals and timers run in between.
    if (done < length) await yieldToEventLoop()
  }
}

export async function digestFile(path: string, signal?: AbortSignal): Promise<FileDigests> {
  const hashes = { md5: createHash('md5'), sha256: createHash('sha256') }
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    for await (const chunk of readChunks(file.fd, 0, size)) {
      throwIfCancelled(signal)
      hashes.md5.update(chunk)
      hashes.sha256.update(chunk)
    }
    return { size, md5: hashes.md5.digest('hex'), sha256: hashes.sha256.digest('hex') }
  } finally {
    await file.close()
  }
}

/** Passes bytes through; `result` gives the digest and size of what has passed, once, at the end. */
export function digestingStream(): {
  stream: Transform
  result(): { digest: Digest; size: number }
} {
  const hash = createHash('sha256')
  let size = 0
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length
      hash.update(chunk)
      done(null, chunk)
    },
  })
  return { stream, result: () => ({ digest: `sha256:${hash.digest('hex')}`, size }) }
}

/** Passes bytes through and fails at the end unless digest and size are the expected ones. */
export function verifyingStream(
  what: string,
  expected: { digest: Digest; size?: number },
): Transform {
  const hash: Hash = createHash('sha256')
  let size = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length
      hash.update(chunk)
      done(null, chunk)
    },
    flush(done) {
      const digest = `sha256:${hash.digest('hex')}`
      if (digest === expected.digest && (expected.size ?? size) === size) return done()
      done(
        new StepError(
          'VERIFY_FAILED',
          `${what}: got ${digest}, ${size} bytes, not ${expected.digest}`,
          {
            hint: 'The content was cut or changed on the way. Run the command again.',
            retryable: true,
          },
        ),
      )
    },
  })
}
