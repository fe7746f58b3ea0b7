const MASK = '***'
/** Shorter values would black out ordinary words; nobody's password should be this short. */
const SHORTEST = 4

/** Values that must never be printed, and the function that takes them out of a text. */
export interface Secrets {
  /** Remembers a secret, together with the encodings in which it usually leaks. */
  add(value: string | undefined): void
  /** The text with every known secret replaced by `***`. */
  mask(text: string): string
}

export function createSecrets(onAdd?: (value: string) => void): Secrets {
  const known = new Set<string>()
  let longestFirst: string[] = []
  return {
    add(value) {
      if (value === undefined || value.length < SHORTEST) return
      for (const form of leakedForms(value)) {
        if (known.has(form)) continue
        known.add(form)
        onAdd?.(form)
      }
      longestFirst = [...known].sort((a, b) => b.length - a.length)
    },
    mask(text) {
      let masked = text
      for (const secret of longestFirst) masked = masked.replaceAll(secret, MASK)
      return masked
    },
  }
}

function leakedForms(value: string): string[] {
  const forms = [value, encodeURIComponent(value), JSON.stringify(value).slice(1, -1)]
  const base64 = Buffer.from(value).toString('base64')
  forms.push(base64, base64.replace(/=+$/, ''))
  for (const line of value.split(/\r?\n/)) forms.push(line)
  return forms.filter((form) => form.length >= SHORTEST)
}
