/** `a, b, c and 4 more` */
export function listSome(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ')
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown
}

/** The first lines, indented, and how many more there are. */
export function indentedLines(lines: readonly string[], most: number): string {
  const shown = lines.slice(0, most)
  const rest = lines.length - shown.length
  if (rest > 0) shown.push(`… and ${rest} more`)
  return shown.map((line) => `  ${line}`).join('\n')
}
