import type { Test } from 'tap'
import { browser } from '../support/servers/browser.ts'
import type { Demo } from '../support/setups/demo.ts'
import { bakeFiles, runBaked } from '../support/setups/tomcat.ts'

/** Two releases of a few files, forwards and back, in a real Tomcat. */
export async function browseReleases(t: Test, demo: Demo): Promise<void> {
  const filesOf = (color: string) => ({
    'style.css': `h1 { color: ${color} }`,
    'same.css': 'h2 { color: gray }',
    'WEB-INF/web.xml': '<web-app/>',
  })
  const run = (color: string) => runBaked(demo, filesOf(color))
  const teal = await run('teal')
  const ask = browser(teal.address)
  t.match(await ask('style.css'), { status: 200, etag: /^W/, text: 'h1 { color: teal }' })
  t.match(await ask('same.css'), { status: 200 })
  t.match(await ask('style.css'), { status: 304 })

  const pink = await run('pink')
  ask.goTo(pink.address)
  t.match(await ask('style.css'), { status: 200, text: 'h1 { color: pink }' })
  t.match(await ask('same.css'), { status: 304 }, 'what did not change is not sent')
  await pink.remove()

  const again = await bakeFiles(demo, filesOf('teal'))
  t.equal(again, teal.image, 'baked again, the same image')
  ask.goTo(teal.address)
  t.match(await ask('style.css'), { status: 200, text: 'h1 { color: teal }' }, 'and back')
  t.match(await ask('same.css'), { status: 304 })
  await teal.remove()
}
