const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escaped = (text: string) => text.replace(/[&<>"']/g, (found) => escapes[found] ?? '')

/** The pages here have no script, no style and no picture. */
export const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; form-action 'self'",
  'referrer-policy': 'no-referrer',
}

interface Page {
  title: string
  text?: string
  links: readonly { text: string; href: string }[]
}

export function pageOf({ title, text = '', links }: Page): string {
  const items = links.map(
    ({ text, href }) => `<li><a href="${escaped(href)}">${escaped(text)}</a></li>`,
  )
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escaped(title)}</title>
<h1>${escaped(title)}</h1>
<p>${escaped(text)}</p>
<ul>${items.join('')}</ul>
</html>
`
}
