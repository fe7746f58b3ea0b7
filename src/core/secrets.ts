const MASK = '***'
/** Masking shorter values would hide ordinary words; no password should be this short. */
const SHORTEST = 4
/**
 * Shorter values are often words of a document itself: the name of an environment, a port. GitLab
 * masks no variable below this either: https://docs.gitlab.com/ci/variables/#mask-a-cicd-variable
 */
const SHORTEST_IN_DOCUMENTS = 8

/** Values that must never be printed, and the functions that take them out of a text. */
export interface Secrets {
  /** Remembers a secret, together with the encodings in which it usually leaks. */
  add(value: string | undefined): void
  /** A text for people with every known secret replaced by `***`. */
  mask(text: string): string
  /** A value in a document that a program reads: short secrets do not change it. */
  maskValue(text: string): string
}

/** The password of an address: `redis://user:PASSWORD@host`. */
export function passwordIn(address: string): string | undefined {
  return /^[a-z][a-z0-9+.-]*:\/\/[^:@/?#]*:([^@/?#]+)@/i.exec(address)?.[1]
}

/** `onAdd` gets the secrets that are long enough to be masked in documents. */
export function createSecrets(onAdd?: (value: string) => void): Secrets {
  const known = new Set<string>()
  const long = new Set<string>()
  let sorted: { all: string[]; long: string[] } | undefined
  const longestFirst = () => {
    if (sorted) return sorted
    const all = [...known].sort((a, b) => b.length - a.length)
    sorted = { all, long: all.filter((form) => long.has(form)) }
    return sorted
  }
  return {
    add(value) {
      if (value === undefined || value.length < SHORTEST) return
      for (const form of leakedForms(value)) {
        const isLong = Math.min(form.length, value.length) >= SHORTEST_IN_DOCUMENTS
        if (isLong && !long.has(form)) {
          long.add(form)
          onAdd?.(form)
        }
        known.add(form)
      }
      sorted = undefined
    },
    mask: (text) => replaceAll(longestFirst().all, text),
    maskValue: (text) => replaceAll(longestFirst().long, text),
  }
}

function replaceAll(secrets: readonly string[], text: string): string {
  let masked = text
  for (const secret of secrets) masked = masked.replaceAll(secret, MASK)
  return masked
}

function leakedForms(value: string): string[] {
  const forms = [value, encodeURIComponent(value), JSON.stringify(value).slice(1, -1)]
  const base64 = Buffer.from(value).toString('base64')
  forms.push(base64, base64.replace(/=+$/, ''))
  for (const line of value.split(/\r?\n/)) forms.push(line)
  return forms.filter((form) => form.length >= SHORTEST)
}
