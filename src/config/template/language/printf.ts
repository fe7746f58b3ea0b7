import { kindOf, templateError, type Value } from './values.ts'

const VERB = /%([-+ 0#]*)(\d+)?(?:\.(\d+))?(.)?/gsu
const WIDEST = 1000

interface Directive {
  flags: string
  width: number
  precision: number | undefined
  verb: string
}

/**
 * Go's fmt.Sprintf for the values of templates: strings, numbers, booleans. Go prints
 * `%!d(string=x)` into the file for a wrong verb or a missing argument; here it is an error.
 */
export function printf(format: string, args: readonly Value[]): string {
  let next = 0
  const result = format.replace(VERB, (shown, flags: string, width, precision, verb) => {
    if (verb === undefined) throw templateError('the format ends in the middle of a verb')
    if (verb === '%') return '%'
    if (next >= args.length)
      throw templateError(`the format has more verbs than there are arguments (${shown})`)
    const directive = {
      flags,
      width: width === undefined ? 0 : Number(width),
      precision: precision === undefined ? undefined : Number(precision),
      verb,
    }
    if (directive.width > WIDEST || (directive.precision ?? 0) > WIDEST) {
      throw templateError(`${shown}: width and precision end at ${WIDEST}`)
    }
    return formatValue(directive, args[next++])
  })
  if (next < args.length) throw templateError('there are more arguments than the format has verbs')
  return result
}

function formatValue(directive: Directive, value: Value): string {
  const { verb, precision } = directive
  if (verb === 'v' || verb === 's')
    return padded(directive, cut(plain(directive, value), precision))
  if (verb === 't' && typeof value === 'boolean') return padded(directive, String(value))
  if (verb === 'q' && typeof value === 'string') return padded(directive, JSON.stringify(value))
  if ('xX'.includes(verb) && typeof value === 'string') {
    const hex = Buffer.from(value).toString('hex')
    return padded(directive, verb === 'X' ? hex.toUpperCase() : hex)
  }
  if (typeof value === 'number') {
    const radix = { d: 10, b: 2, o: 8, x: 16, X: 16 }[verb]
    if (radix !== undefined && Number.isInteger(value)) return integer(directive, value, radix)
    if (verb === 'c' && value >= 0 && value <= 0x10ffff)
      return padded(directive, String.fromCodePoint(value))
    if (verb === 'e')
      return signed(directive, value, exponent(Math.abs(value).toExponential(precision ?? 6)))
    if (verb === 'f' || verb === 'F')
      return signed(directive, value, fixed(Math.abs(value), precision ?? 6))
    if (verb === 'g') return signed(directive, value, exponent(general(Math.abs(value), precision)))
  }
  throw templateError(`%${verb} cannot print ${kindOf(value)}`)
}

function plain({ verb }: Directive, value: Value): string {
  if (typeof value === 'string') return value
  if (verb === 'v' && (typeof value === 'number' || typeof value === 'boolean'))
    return String(value)
  const hint = verb === 's' ? 'Use %v or %d.' : 'Use join or each for a list.'
  throw templateError(`%${verb} cannot print ${kindOf(value)}`, hint)
}

function cut(text: string, precision: number | undefined): string {
  return precision === undefined ? text : Array.from(text).slice(0, precision).join('')
}

function integer(directive: Directive, value: number, radix: number): string {
  const { verb, precision, flags } = directive
  let digits = Math.abs(value)
    .toString(radix)
    .padStart(precision ?? 0, '0')
  if (verb === 'X') digits = digits.toUpperCase()
  if (flags.includes('#') && 'xX'.includes(verb)) digits = `0${verb}${digits}`
  if (flags.includes('#') && verb === 'o') digits = `0${digits}`
  return signed(directive, value, digits)
}

function fixed(value: number, precision: number): string {
  if (value >= 1e21 || precision > 100)
    throw templateError('%f: the number or its precision is too large')
  return value.toFixed(precision)
}

function general(value: number, precision: number | undefined): string {
  if (precision === undefined)
    return value >= 1e21 || (value !== 0 && value < 1e-4) ? value.toExponential() : String(value)
  return String(Number(value.toPrecision(Math.min(100, Math.max(1, precision)))))
}

/** Go writes exponents with at least two digits. */
function exponent(text: string): string {
  return text.replace(/e([+-])(\d)$/, 'e$10$2')
}

function signed(directive: Directive, value: number, digits: string): string {
  const { flags, width, precision, verb } = directive
  const sign = value < 0 ? '-' : flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : ''
  const zeroes =
    flags.includes('0') &&
    !flags.includes('-') &&
    !('dboxX'.includes(verb) && precision !== undefined)
  return zeroes
    ? sign + digits.padStart(width - sign.length, '0')
    : padded(directive, sign + digits)
}

function padded({ flags, width }: Directive, text: string): string {
  const fill = ' '.repeat(Math.max(0, width - Array.from(text).length))
  return flags.includes('-') ? text + fill : fill + text
}
