import { SCANNER } from '../core/scanner.ts'

/** Logins do not differ by case, on GitLab and on GitHub. */
export function personOf(login: string): string {
  return login.trim().toLowerCase()
}

/**
 * Whether the person who speaks as `login` may be the one who is recorded as `other`: a login, a
 * mail address, or `Name <mail>` as git writes it. Compared are all forms of both: login, mail, its
 * local part (without `+tag`), the login in a noreply address of GitHub or GitLab, the name; upper
 * case and the marks . _ - make no difference. It is a guess on the safe side: li@example.com is
 * held to be li. A person whose login and mail have nothing in common is not found out.
 */
export function maybeSame(login: string, other: string): boolean {
  const forms = formsOf(other)
  return [...formsOf(login)].some((form) => forms.has(form))
}

function formsOf(text: string): Set<string> {
  const whole = text.normalize('NFKC').trim().toLowerCase()
  const [, name = '', inBrackets] = /^(.*?)<([^<>]*)>\s*$/.exec(whole) ?? []
  const mail = inBrackets ?? whole
  const at = mail.lastIndexOf('@')
  const forms = [mail, inBrackets === undefined ? '' : name]
  if (at > 0) forms.push(...localForms(mail.slice(0, at), mail.slice(at + 1)))
  return new Set(forms.map((form) => form.replace(/[\s._-]/g, '')).filter((form) => form !== ''))
}

/** `12345+li@users.noreply.github.com`, `12345-li@users.noreply.gitlab.example.com`, `li+git@…`. */
function localForms(local: string, domain: string): string[] {
  if (/^users\.noreply\./.test(domain)) return [local.replace(/^\d+[+-]/, '')]
  return [local, local.replace(/\+.*$/, '')]
}

/** Somebody as the ledger knows them; id and mail are there where a signed token had them. */
export interface Person {
  login: string
  id?: string | undefined
  mail?: string | undefined
  /** Whether it is no account at all, but the scanner. */
  service?: boolean | undefined
}

/** Whether two records are, or may be, of one person: by their ids where both are known, else by name and mail. */
export function mayBeSamePerson(person: Person, other: Person): boolean {
  if (person.id !== undefined && other.id !== undefined) return person.id === other.id
  const names = ({ login, mail = '' }: Person) => [login, mail].filter((name) => name.trim())
  return names(person).some((name) => names(other).some((more) => maybeSame(name, more)))
}

/** `ops-li#42`: the account with the id 42, by any name. */
export function personIn(entry: string): Person {
  const [login = '', id] = entry.split('#')
  return { login, id }
}

const GROUP = 'group:'

/** The path of a list's `group:path`; undefined for a login. */
export function groupOf(entry: string): string | undefined {
  return entry.startsWith(GROUP) ? entry.slice(GROUP.length) : undefined
}

/**
 * Whether somebody, or one of their groups, is in a list of `login`, `login#id`, `group:path`. The
 * scanner's name there is the scanner alone: anybody might get an account that is called so.
 */
export function isListed(
  list: readonly string[],
  { login, id, service = false }: Person,
  groups: readonly string[],
): boolean {
  const [person, paths] = [personOf(login), new Set(groups.map(personOf))]
  return list.some((entry) => {
    const group = groupOf(entry)
    if (group !== undefined) return paths.has(personOf(group))
    const listed = personIn(entry)
    if (listed.id !== undefined) return listed.id === id
    const name = personOf(listed.login)
    return name === person && (service || name !== SCANNER)
  })
}

/** `a`, `a or b`, `a, b or c`. */
export function oneOf(names: readonly string[], word = 'or'): string {
  const [last = '', ...others] = [...names].reverse()
  return others.length === 0 ? last : `${others.reverse().join(', ')} ${word} ${last}`
}
