/**
 * The console in Chromium: logging in, each page, filters, hostile texts, without script, and what axe finds. With
 * CONSOLE_SCREENSHOTS=<folder> each page is also drawn there, in both themes, wide and narrow.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Gateway, startGateway, verifyLogs } from '../gateway/gateway.ts'
import { launchChromium } from './chromium.ts'
import { hostile, hostileElement, keyOf, makeScene, type Scene } from './scene.ts'

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const auditorSecret = randomBytes(33).toString('base64url')
const screenshots = process.env.CONSOLE_SCREENSHOTS

let gateway: Gateway
let browser: Browser
let scene: Scene
let origin: string
const contexts: BrowserContext[] = []

beforeAll(async () => {
  browser = await launchChromium()
  gateway = await startGateway({
    UPSTREAM_TIMEOUT_MS: '1500',
    UPSTREAM_RETRY_MS: '20',
    AUDIT_ARCHIVE: 'bound',
    AUDITOR_TOKEN: `olga:${auditorSecret}`,
  })
  origin = gateway.runtime.url
  scene = await makeScene(gateway)
})
afterEach(async () => {
  for (const context of contexts.splice(0)) await context.close()
  await verifyLogs(gateway)
})
afterAll(async () => {
  await browser?.close()
  await gateway?.stop()
})

/** What the browser complained of, and whatever it asked of anyone else. */
interface Watched {
  page: Page
  complaints: string[]
}

async function open(options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext(options)
  contexts.push(context)
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('console', message => {
    // Chromium logs each answer that is not a 2xx; what the page itself does is what counts here.
    const expected = message
      .text()
      .match(/^Failed to load resource: the server responded with a status of (4|503)/)
    if (['error', 'warning'].includes(message.type()) && !expected) complaints.push(message.text())
  })
  page.on('pageerror', error => complaints.push(String(error)))
  page.on('dialog', dialog => {
    complaints.push(`dialog: ${dialog.message()}`)
    return dialog.dismiss()
  })
  page.on('request', request => {
    if (!request.url().startsWith(origin) && !request.url().startsWith('data:'))
      complaints.push(request.url())
  })
  return { page, complaints }
}

async function logIn(page: Page, secret = gateway.adminSecret): Promise<void> {
  await page.goto(`${origin}/console`)
  await page.getByLabel('Secret of an admin or auditor').fill(secret)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('heading', { name: 'Organisations' }).waitFor()
}

/** Every page, by a name. */
function paths(): Record<string, string> {
  const organisation = (id: string, tail = '') => `/console/organisations/${id}${tail}`
  const { busy, attacked, missing, rejected, unused, stopped, seq, hook, attackedHook } = scene
  return {
    organisations: '/console',
    'no-organisations': '/console?after=zzzz',
    overview: organisation(busy),
    filtered: organisation(busy, '?event=update.*&outcome=failed'),
    'filtered-nothing': organisation(busy, '?version=none'),
    'filter-wrong': organisation(busy, '?since=yesterday'),
    'session-missing': organisation(missing),
    'session-rejected': organisation(rejected),
    unused: organisation(unused),
    stopped: organisation(stopped),
    'record-changed': organisation(busy, `/records/${seq.changed}`),
    'record-failed': organisation(busy, `/records/${seq.failed}`),
    'record-unknown': organisation(busy, `/records/${seq.unknown}`),
    'record-denied': organisation(busy, `/records/${seq.denied}`),
    'record-none': organisation(busy, '/records/99999'),
    tokens: organisation(busy, '/tokens'),
    'tokens-none': organisation(unused, '/tokens'),
    hooks: organisation(busy, '/hooks'),
    'hooks-none': organisation(unused, '/hooks'),
    deliveries: organisation(busy, `/hooks/${hook}`),
    'deliveries-none': organisation(busy, `/hooks/${hook}?state=dead&before=1`),
    'hook-none': organisation(busy, `/hooks/${attackedHook}`),
    'hooks-attacked': organisation(attacked, '/hooks'),
    'deliveries-attacked': organisation(attacked, `/hooks/${attackedHook}`),
    'not-found': '/console/nothing/here',
    'overview-attacked': organisation(attacked),
    'record-attacked': organisation(attacked, `/records/${seq.attacked}`),
    'record-attacked-rejected': organisation(attacked, `/records/${seq.attackedRejected}`),
    'tokens-attacked': organisation(attacked, '/tokens'),
  }
}

describe('logging in', () => {
  test.each(['admin', 'auditor'])('an %s gets in, and out again', async role => {
    const { page, complaints } = await open()
    await logIn(page, role === 'admin' ? gateway.adminSecret : auditorSecret)
    await page.getByText(role === 'admin' ? 'alice (admin)' : 'olga (auditor)').waitFor()
    const [cookie, ...others] = await page.context().cookies()
    expect(others).toEqual([])
    expect(cookie).toMatchObject({
      name: '__Host-console',
      path: '/',
      httpOnly: true,
      secure: true,
      sameSite: 'Strict',
    })
    const hours = ((cookie?.expires ?? 0) - Date.now() / 1000) / 3600
    expect(hours).toBeGreaterThan(7.9)
    expect(hours).toBeLessThanOrEqual(8)
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByRole('heading', { name: 'Log in' }).waitFor()
    expect(await page.context().cookies()).toEqual([])
    await page.goto(`${origin}/console`)
    await page.getByRole('heading', { name: 'Log in' }).waitFor()
    expect(complaints).toEqual([])
  })

  test('a wrong secret does not get in, and leads back to the page that was wanted once the right one is given', async () => {
    const { page, complaints } = await open()
    await page.goto(`${origin}/console/organisations/${scene.busy}/tokens`)
    await page.getByLabel('Secret of an admin or auditor').fill('wrong')
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByRole('alert').waitFor()
    expect(await page.context().cookies()).toEqual([])
    await page.getByLabel('Secret of an admin or auditor').fill(gateway.adminSecret)
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByRole('heading', { name: 'Tokens' }).waitFor()
    expect(page.url()).toBe(`${origin}/console/organisations/${scene.busy}/tokens`)
    expect(complaints).toEqual([])
  })

  test('a form on another site logs nobody in', async () => {
    const { page } = await open()
    await page.goto('about:blank')
    await page.setContent(
      `<form method="post" action="${origin}/console/login"><input name="secret" value="${gateway.adminSecret}"><button>Go</button></form>`,
    )
    await page.getByRole('button').click()
    await page.getByText('sent from another site').waitFor()
    expect(await page.context().cookies()).toEqual([])
  })
})

test('every page is drawn without a complaint of the browser, and axe finds nothing', async () => {
  // axe has to be put into the page, which the page's own policy forbids: that is a context of its own.
  const strict = await open()
  const examined = await open({ bypassCSP: true })
  for (const { page, complaints } of [strict, examined]) {
    await logIn(page)
    for (const [name, path] of Object.entries(paths())) {
      await page.goto(origin + path)
      expect(complaints, name).toEqual([])
    }
  }
  const { page } = examined
  for (const [name, path] of [
    ...Object.entries(paths()),
    ['login', '/console/login?next=/console/organisations/A'],
  ]) {
    // Between them both themes and both layouts.
    for (const [colorScheme, width] of [
      ['light', 1280],
      ['dark', 360],
    ] as const) {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize({ width, height: 900 })
      await page.goto(origin + path)
      await page.evaluate('for (const each of document.querySelectorAll("details")) each.open = true')
      await page.evaluate(axeSource)
      const violations = await page.evaluate(async () => {
        // biome-ignore lint/suspicious/noExplicitAny: axe puts itself there.
        const { violations } = await (globalThis as any).axe.run()
        return violations.map((each: { id: string; nodes: { html: string; failureSummary: string }[] }) => [
          each.id,
          each.nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`),
        ])
      })
      expect(violations, `${name}, ${colorScheme}, ${width}`).toEqual([])
      const overflow = await page.evaluate('document.documentElement.scrollWidth - innerWidth')
      expect(overflow, `${name} is wider than ${width}`).toBeLessThanOrEqual(0)
    }
  }
})

const inJson = (text: string) => JSON.stringify(text).slice(1, -1)

test('hostile texts are shown as texts in every place', async () => {
  // Where the policy does not stand in front, a mistake in escaping would run.
  const { page, complaints } = await open({ bypassCSP: true })
  await logIn(page)
  const { attacked, attackedHook, seq } = scene
  const organisation = `/console/organisations/${attacked}`
  const q = encodeURIComponent
  const cut = hostileElement.slice(0, 100)
  const shown: [path: string, ...texts: string[]][] = [
    [organisation, cut, hostile],
    [`${organisation}/tokens`, cut],
    [`${organisation}/hooks`, cut],
    [`${organisation}/hooks/${attackedHook}`, cut],
    [
      `${organisation}/records/${seq.attacked}`,
      hostile,
      hostileElement,
      inJson(`${hostileElement} again`),
      keyOf(hostileElement),
    ],
    [`${organisation}/records/${seq.attackedRejected}`, hostile, hostileElement.slice(0, 64)],
    [`${organisation}?since=${q(hostileElement)}`],
    [`${organisation}?event=${q(hostileElement)}&outcome=${q(hostileElement)}`],
    [
      `${organisation}?actor=${q(hostileElement)}&connectionId=${q(hostileElement)}&version=${q(hostileElement)}`,
    ],
    [`${organisation}?before=${q(hostileElement)}`],
    [`/console?after=${q(hostileElement)}`],
    [`/console/${q(hostileElement)}`],
    [`/console/login?next=${q(`/console/organisations/A?x=${hostileElement}`)}`],
    [`/console/login?next=${q(`javascript:alert(1)`)}`],
  ]
  for (const [path, ...texts] of shown) {
    await page.goto(origin + path)
    const markup = await page.locator('script, img, iframe, object, embed, [onerror], [onload]').count()
    expect(markup, path).toBe(0)
    const text = await page.evaluate('document.body.textContent')
    for (const each of texts) expect(text, path).toContain(each)
    const links = (await page.evaluate(
      'Array.from(document.querySelectorAll("[href],[action]"), each => each.href?.baseVal ?? each.href ?? each.action)',
    )) as string[]
    const foreign = links.filter(
      link => !link.startsWith('/console') && !link.startsWith(`${origin}/console`),
    )
    expect(
      foreign.filter(link => !link.startsWith('data:image/svg+xml')),
      path,
    ).toEqual([])
    expect(complaints, path).toEqual([])
  }
})

test("a failed update of last night's is three clicks away, by way of a filter", async () => {
  const { page, complaints } = await open()
  await logIn(page, auditorSecret)
  await page.getByRole('link', { name: scene.busy }).click()
  await page.getByRole('link', { name: 'Failed updates' }).click()
  await page.getByRole('link', { name: `Record ${scene.seq.failed}` }).click()
  await page.getByRole('heading', { name: `Record ${scene.seq.failed}: update.failed` }).waitFor()
  await page.getByText('the platform answered 422').waitFor()
  expect(complaints).toEqual([])
})

describe('an organisation', () => {
  const rows = (page: Page) => page.locator('section[aria-labelledby=timeline] tbody tr')

  test.each(['missing', 'rejected'] as const)(
    'with its session %s: that is said first, with what to do',
    async which => {
      const { page } = await open()
      await logIn(page)
      await page.getByRole('row', { name: scene[which] }).getByText(`session ${which}`).waitFor()
      await page.getByRole('link', { name: scene[which] }).click()
      const first = page.locator('main section').first()
      expect(await first.locator('.chip').textContent()).toBe(which)
      expect(await first.textContent()).toContain(`/admin/organisations/${scene[which]}/session`)
    },
  )

  test('is narrowed by every filter of the form, and by several', async () => {
    const { page, complaints } = await open()
    await logIn(page)
    const { busy } = scene
    await page.goto(`${origin}/console/organisations/${busy}`)
    const all = await rows(page).count()
    const choose: [label: string, value: string, kind: 'select' | 'fill', every: RegExp][] = [
      ['Outcome', 'failed', 'select', /failed/],
      ['About', 'token.*', 'select', /token /],
      ['Connection (id)', 'CONN2', 'fill', /CONN2/],
      ['Version', '1.3.0', 'fill', /1\.3\.0/],
      ['Actor (id)', 'alice', 'fill', /alice/],
    ]
    for (const [label, value, kind, every] of choose) {
      await page.goto(`${origin}/console/organisations/${busy}`)
      if (kind === 'select') await page.getByLabel(label).selectOption(value)
      else await page.getByLabel(label).fill(value)
      await page.getByRole('button', { name: 'Filter' }).click()
      await page.getByRole('link', { name: 'Show all' }).waitFor()
      const texts = await rows(page).allTextContents()
      expect(texts.length, label).toBeGreaterThan(0)
      expect(texts.length, label).toBeLessThan(all)
      for (const text of texts) expect(text, label).toMatch(every)
      expect(await page.getByLabel(label).inputValue()).toBe(value)
    }
    const before = new Date(Date.now() - 3_600_000).toISOString().slice(0, 16)
    await page.goto(`${origin}/console/organisations/${busy}`)
    await page.getByLabel('Until, UTC').fill(before)
    await page.getByRole('button', { name: 'Filter' }).click()
    await page.getByText('No record matches.').waitFor()
    await page.getByLabel('Until, UTC').fill('')
    await page.getByLabel('From, UTC').fill(before)
    await page.getByLabel('About').selectOption('update.*')
    await page.getByLabel('Connection (id)').fill('CONN2')
    await page.getByRole('button', { name: 'Filter' }).click()
    const texts = await rows(page).allTextContents()
    expect(texts.length).toBeGreaterThan(2)
    for (const text of texts) expect(text).toMatch(/update .*CONN2/s)
    expect(complaints).toEqual([])
  })

  test('with more records than a page is paged to its first record, each once', async () => {
    const { id, token } = await gateway.organisation()
    for (let i = 0; i < 120; i++) await gateway.ask(`/o/${id}/token`, { token })
    const { page, complaints } = await open()
    await logIn(page)
    await page.goto(`${origin}/console/organisations/${id}`)
    const seen: number[] = []
    for (;;) {
      const numbers = await rows(page).locator('td:last-child').allTextContents()
      seen.push(...numbers.map(Number))
      const older = page.getByRole('link', { name: 'Older records' })
      if ((await older.count()) === 0) break
      await older.click()
      await page.getByRole('link', { name: 'Newest records' }).waitFor()
    }
    // 122, and that the console was opened.
    expect(seen).toEqual(Array.from({ length: 123 }, (_, i) => 123 - i))
    expect(complaints).toEqual([])
  })

  test('shows in chart and table how requests ended', async () => {
    const { page } = await open()
    await logIn(page)
    await page.goto(`${origin}/console/organisations/${scene.busy}`)
    const legend = await page.locator('.legend').textContent()
    expect(legend).toMatch(/\d+ succeeded.*\d+ refused.*1 unknown.*1 failed/s)
    expect(await page.locator('svg.chart rect.bad').count()).toBe(1)
    await page.getByText('The same as a table').click()
    const cells = await page.locator('table.counts tbody tr').allTextContents()
    expect(cells.length).toBe(24)
    await page.locator('table.counts a').first().click()
    await page.getByRole('link', { name: 'Show all' }).waitFor()
    expect(await rows(page).count()).toBeGreaterThan(10)
  })
})

test('a record is shown with its attempt, outcome and reconciliation, its change and its receipt', async () => {
  const { page, complaints } = await open()
  await logIn(page)
  const record = (seq: number) => page.goto(`${origin}/console/organisations/${scene.busy}/records/${seq}`)
  await record(scene.seq.unknown)
  const steps = await page.locator('.steps li').allTextContents()
  expect(steps.length).toBeGreaterThanOrEqual(3)
  expect(steps[0]).toContain('attempted')
  expect(steps.join()).toContain('unknown')
  expect(steps.at(-1)).toContain('reconciled: applied')
  await record(scene.seq.patched)
  expect(await page.locator('.diff ins').textContent()).toBe('"the one before the fix"')
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'Download the receipt document' }).click(),
  ])
  const receipt = JSON.parse(readFileSync(await download.path(), 'utf8'))
  expect(Object.keys(receipt)).toEqual(['record', 'leaf', 'proof', 'checkpoint'])
  expect(JSON.parse(receipt.record).seq).toBe(scene.seq.patched)
  expect(await page.getByText(`${scene.seq.patched}:${receipt.leaf}`).count()).toBe(1)
  expect(complaints).toEqual([])
})

test('hooks are shown with what they were sent, by its state, and lead to its records', async () => {
  const { page, complaints } = await open()
  await logIn(page, auditorSecret)
  await page.getByRole('link', { name: scene.busy }).click()
  await page.getByRole('link', { name: 'Hooks', exact: true }).click()
  await page.getByRole('link', { name: 'github-release' }).click()
  const rows = page.locator('section tbody tr')
  // An event that is ignored leaves a record alone.
  expect(await rows.count()).toBe(2)
  await page.getByRole('link', { name: 'done', exact: true }).click()
  expect(await rows.count()).toBe(1)
  await rows.getByRole('link').first().click()
  await page.getByRole('heading', { name: 'webhook.received' }).waitFor()
  expect(complaints).toEqual([])
})

test('the keyboard reaches the content first, and every control shows its focus', async () => {
  const { page } = await open()
  await logIn(page)
  await page.goto(`${origin}/console/organisations/${scene.busy}`)
  await page.keyboard.press('Tab')
  expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to the content')
  await page.keyboard.press('Enter')
  expect(await page.evaluate('document.activeElement.id')).toBe('content')
  await page.keyboard.press('Tab')
  const focused = 'getComputedStyle(document.activeElement).outlineStyle'
  for (let i = 0; i < 12; i++) {
    expect(await page.evaluate(focused)).toBe('solid')
    await page.keyboard.press('Tab')
  }
})

test('all of it works without script', async () => {
  const { page, complaints } = await open({ javaScriptEnabled: false })
  await logIn(page)
  await page.getByRole('link', { name: scene.busy }).click()
  await page.getByLabel('Outcome').selectOption('failed')
  await page.getByRole('button', { name: 'Filter' }).click()
  await page.getByRole('link', { name: `Record ${scene.seq.failed}` }).click()
  await page.getByRole('heading', { name: 'From attempt to outcome' }).waitFor()
  await page.getByRole('link', { name: 'Tokens' }).click()
  await page.getByRole('cell', { name: 'revoked' }).first().waitFor()
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByRole('heading', { name: 'Log in' }).waitFor()
  expect(complaints).toEqual([])
})

test.runIf(screenshots)('screenshots', async () => {
  const folder = screenshots ?? ''
  mkdirSync(folder, { recursive: true })
  const { page } = await open()
  await logIn(page)
  const login = ['login', '/console/login?next=/console/organisations/A'] as const
  for (const [name, path] of [login, ...Object.entries(paths())]) {
    for (const [suffix, colorScheme, width] of [
      ['light', 'light', 1280],
      ['dark', 'dark', 1280],
      ['narrow', 'light', 390],
      ['narrow-dark', 'dark', 390],
    ] as const) {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize({ width, height: 900 })
      await page.goto(origin + path)
      await page.screenshot({ path: join(folder, `${name}-${suffix}.png`), fullPage: true })
    }
  }
})
