/** What the gateway says of itself: health, the API's description, the meaning of each problem. */
import { createConfig, lintFromString } from '@redocly/openapi-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { app } from '../../src/app.ts'
import { problems } from '../../src/errors.ts'
import { administration } from '../../src/routes/administration.ts'
import { meta } from '../../src/routes/meta.ts'
import { openapi } from '../../src/routes/openapi.ts'
import { webhooks } from '../../src/routes/webhooks.ts'
import { type Gateway, startGateway } from './gateway.ts'

let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway()
})
afterAll(() => gateway.stop())

test('the served description is made from the schemas as they are now (else: npm run openapi)', async () => {
  const served = await gateway.ask('/openapi.json')
  expect(served.status).toBe(200)
  expect(served.json).toEqual(JSON.parse(JSON.stringify(openapi())))
})

test('a linter finds nothing to complain of', async () => {
  const { text } = await gateway.ask('/openapi.json')
  const config = await createConfig({ extends: ['recommended'] })
  const complaints = await lintFromString({ source: text, config })
  expect(complaints.map(({ ruleId, message }) => `${ruleId}: ${message}`)).toEqual([])
})

test('every route is in the description, and nothing else is', async () => {
  const { json } = await gateway.ask('/openapi.json')
  const described = Object.entries(json.paths as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods).map(method => `${method.toUpperCase()} ${path}`),
  )
  const routed = [app, webhooks(), administration(), meta()]
    .flatMap(({ routes }) => routes)
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`)
  expect([...new Set(routed)].toSorted()).toEqual(described.toSorted())
})

test('a configured gateway is healthy', async () => {
  const health = await gateway.ask('/health')
  expect(health.status).toBe(200)
  expect(health.json).toEqual({ status: 'ok' })
})

test.each(Object.keys(problems))('GET /problems/%s explains the code and what to do', async code => {
  const page = await gateway.ask(`/problems/${code}`)
  expect(page.status).toBe(200)
  expect(page.headers['content-type']).toContain('text/plain')
  expect(page.text).toContain(code)
  expect(page.text).toContain('What to do:')
})

test('a code that does not exist is not found', async () => {
  expect((await gateway.ask('/problems/constructor')).json.code).toBe('not-found')
})
