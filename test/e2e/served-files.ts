import type { Test } from 'tap'
import { browser } from '../support/servers/browser.ts'
import type { Demo } from '../support/setups/demo.ts'
import { runBaked } from '../support/setups/tomcat.ts'

/** Two releases of a few files, forwards and back, in a real Tomcat. */
export async function browseReleases(t: Test, demo: Demo): Promise<void> {
  const run = (color: string) => {
    const files = { 'style.css': `h1 { color: ${color} }`, 'same.css': 'h2 { color: gray }' }
    return runBaked(demo, { ...files, 'WEB-INF/web.xml': '<web-app/>' })
  }
  const teal = await run('teal')
  const ask = browser(teal.address)
  t.match(await ask('style.css'), { status: 200, etag: /^W/, text: 'h1 { color: teal }' })
  t.match(await ask('same.css'), { status: 200 })
  t.match(await ask('style.css'), { status: 304 })
  await teal.remove()

  const pink = await run('pink')
  ask.goTo(pink.address)
  t.match(await ask('style.css'), { status: 200, text: 'h1 { color: pink }' })
  t.match(await ask('same.css'), { status: 304 }, 'what did not change is not sent')
  await pink.remove()

  const back = await run('teal')
  t.equal(back.image, teal.image, 'baked again, the same image')
  ask.goTo(back.address)
  t.match(await ask('style.css'), { status: 200, text: 'h1 { color: teal }' }, 'and back')
  t.match(await ask('same.css'), { status: 304 })
  await back.remove()
}
