import { withoutControls } from './plain-text.ts'

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

/** What a secret looks like where a template, a format or a program has written it in its own way. */
function leakedForms(value: string): string[] {
  const forms = new Set([value, withoutControls(value), ...value.split(/\r?\n/)])
  for (const write of writings) for (const form of write(value)) forms.add(form)
  // Without a digit, or short, a text in other letters is an ordinary word: Production, production.
  if (value.length >= SHORTEST_IN_DOCUMENTS && /\d/.test(value)) {
    forms.add(value.toUpperCase()).add(value.toLowerCase())
  }
  return [...forms].filter((form) => form.length >= SHORTEST)
}

const writings: readonly ((value: string) => readonly string[])[] = [
  urlForms,
  jsonForms,
  xmlForms,
  base64Forms,
  propertiesForms,
  // A shell's and YAML's single quotes.
  (value) => [value.replaceAll("'", "'\\''"), value.replaceAll("'", "''")],
]

function urlForms(value: string): string[] {
  const whole = encodeURIComponent(value.replace(/\p{Surrogate}/gu, '\ufffd'))
  const strict = whole.replace(/[!'()*]/g, (found) => `%${hex(found, 2).toUpperCase()}`)
  return [whole, strict].flatMap((form) => {
    const plus = form.replaceAll('%20', '+')
    return [form, plus, lowerEscapes(form), lowerEscapes(plus)]
  })
}

const lowerEscapes = (text: string) => text.replace(/%../g, (found) => found.toLowerCase())

/** Go, Gson and others write more of it in hexadecimal than they need. */
function jsonForms(value: string): string[] {
  const plain = JSON.stringify(value).slice(1, -1)
  const escaped = (text: string, some: RegExp) =>
    text.replace(some, (found) => `\\u${hex(found, 4)}`)
  return [
    plain,
    plain.replaceAll('/', '\\/'),
    escaped(plain, /[<>&]/g),
    escaped(plain, /[<>&='\u2028\u2029]/g),
    escaped(plain, NOT_ASCII),
  ]
}

const NOT_ASCII = /[^\0-\x7f]/g

function xmlForms(value: string): string[] {
  const ands = value.replaceAll('&', '&amp;')
  const text = ands.replaceAll('<', '&lt;')
  const all = text.replaceAll('>', '&gt;')
  const quotes = [all, text, value].flatMap((form) => [
    form.replaceAll('"', '&quot;'),
    form.replaceAll('"', '&#34;'),
  ])
  const apostrophes = ['&apos;', '&#39;', '&#039;', '&#x27;']
  const both = quotes.flatMap((form) => apostrophes.map((as) => form.replaceAll("'", as)))
  return [ands, text, all, ...quotes, ...both]
}

function base64Forms(value: string): string[] {
  const standard = Buffer.from(value).toString('base64')
  return [standard, standard.replace(/=+$/, ''), Buffer.from(value).toString('base64url')]
}

/** As java.util.Properties stores a value, and as people write it. */
function propertiesForms(value: string): string[] {
  const backslashes = value.replaceAll('\\', '\\\\')
  const stored = backslashes.replace(/[:=#!]|^ /g, (found) => `\\${found}`)
  return [backslashes, stored].flatMap((form) => [
    form,
    form.replace(NOT_ASCII, (found) => `\\u${hex(found, 4).toUpperCase()}`),
    form.replace(NOT_ASCII, (found) => `\\u${hex(found, 4)}`),
  ])
}

const hex = (character: string, digits: number) =>
  character.charCodeAt(0).toString(16).padStart(digits, '0')
