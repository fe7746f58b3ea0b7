/**
 * Images that a Dockerfile names after FROM and COPY --from, as far as its ARGs and the build
 * arguments tell; stages of its own and `scratch` are left out.
 */
export function imagesOf(dockerfile: string, args: Readonly<Record<string, string>>): string[] {
  const values = new Map<string, string>()
  const stages = new Set(['scratch'])
  const images = new Set<string>()
  let isBeforeStages = true
  const note = (written: string | undefined) => {
    const image = substitute(written ?? '', values)
    if (image && !stages.has(image.toLowerCase()) && !/^\d+$/.test(image)) images.add(image)
  }
  for (const line of instructions(dockerfile)) {
    const [word = '', ...rest] = line.split(/\s+/)
    const keyword = word.toUpperCase()
    const operands = rest.filter((part) => !part.startsWith('--'))
    if (keyword === 'ARG' && isBeforeStages) {
      for (const [name, value] of rest.map(readArgument)) {
        const found = args[name] ?? (value === undefined ? undefined : substitute(value, values))
        if (found !== undefined) values.set(name, found)
      }
    } else if (keyword === 'FROM') {
      isBeforeStages = false
      note(operands[0])
      const name = /^as$/i.test(operands[1] ?? '') ? operands[2] : undefined
      if (name !== undefined) stages.add(name.toLowerCase())
    } else if (keyword === 'COPY') {
      const from = rest.find((part) => part.startsWith('--from='))
      if (from !== undefined) note(from.slice('--from='.length))
    }
  }
  return [...images]
}

/** Logical lines without comments: https://docs.docker.com/reference/dockerfile/#parser-directives */
function instructions(dockerfile: string): string[] {
  const isBacktick = /^\s*#\s*escape\s*=\s*`/im.test(dockerfile)
  const continued = isBacktick ? /`[ \t]*$/ : /\\[ \t]*$/
  const found: string[] = []
  let open = ''
  for (const line of dockerfile.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    if (/^\s*(?:#|$)/.test(line)) continue
    open += line.replace(continued, ' ')
    if (continued.test(line)) continue
    found.push(open.trim())
    open = ''
  }
  return open.trim() === '' ? found : [...found, open.trim()]
}

/** `NAME=value`, `NAME="value"` or `NAME`. */
function readArgument(text: string): [name: string, value: string | undefined] {
  const at = text.indexOf('=')
  if (at < 0) return [text, undefined]
  return [text.slice(0, at), text.slice(at + 1).replace(/^(["'])(.*)\1$/, '$2')]
}

/** `$NAME`, `${NAME}`, `${NAME:-other}` and `${NAME:+other}`; a name without a value gives nothing. */
function substitute(text: string, values: ReadonlyMap<string, string>): string {
  return text.replace(
    /\$(?:(\w+)|\{(\w+)(?:(:[-+])([^}]*))?\})/g,
    (_, plain?: string, braced?: string, operator?: string, other = '') => {
      const value = values.get(plain ?? braced ?? '') ?? ''
      if (operator === ':-') return value || other
      if (operator === ':+') return value && other
      return value
    },
  )
}
