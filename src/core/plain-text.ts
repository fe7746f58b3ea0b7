import { stripVTControlCharacters } from 'node:util'

// What others wrote may be printed by us, kept by us, or be a cell of a table: it then controls neither
// a terminal, nor a CI runner, nor the lines of our own text.

/** Without colours and control characters; line feeds and tabs stay. */
export function withoutControls(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is taken out
  return stripVTControlCharacters(text).replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '')
}

/**
 * Without workflow commands of GitHub's and Gitea's runners: those trim a line before they look for `::`,
 * and find `##[` anywhere (ActionCommand.cs). Their white space has U+0085, too.
 */
export function withoutCommands(text: string): string {
  return text
    .replace(/^[\s\u0085\u180e\u200b]*::/gm, (start) => start.replace('::', ': :'))
    .replaceAll('##[', '## [')
}

/** The same document of JSON in characters that control nothing. */
export function plainJson(document: string): string {
  return document.replace(/[\x7f-\x9f\u2028\u2029]/g, escaped).replaceAll('##[', '##\\u005b')
}

/** Control characters and those that turn the order of a line are shown, as JSON writes them. */
export function onOneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (found) => {
    const named = JSON.stringify(found).slice(1, -1)
    return named === found ? escaped(found) : named
  })
}

const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
