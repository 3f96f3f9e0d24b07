// SPDX-License-Identifier: Apache-2.0
// Holds every answer of a test against www/openapi.json: path and method must be known, status declared, headers present, and the
// body of the schema. `node contract.mjs` alone compiles every schema and tries the checker on answers that must and must not pass.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import assert from 'node:assert/strict'
import Ajv2020 from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

const DOCUMENT = fileURLToPath(new URL('../../www/openapi.json', import.meta.url))
const ID = 'openapi'

const escapePointer = (name) => name.replaceAll('~', '~0').replaceAll('/', '~1')

export class Contract {
  #document
  #ajv
  #paths
  #seen = new Set()

  constructor(file = DOCUMENT) {
    this.#document = JSON.parse(readFileSync(file, 'utf8'))
    this.#ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: true })
    addFormats(this.#ajv)
    this.#ajv.addSchema(this.#document, ID)
    this.#paths = Object.keys(this.#document.paths).map((template) => ({
      template,
      pattern: new RegExp('^' + template.replace(/[.]/g, '\\.').replace(/\{[^}]+\}/g, '[^/]+') + '$'),
    }))
    // "/patients" before "/patients/{id}": fewer variables first
    this.#paths.sort((a, b) => a.template.split('{').length - b.template.split('{').length)
  }

  /** Compiles every response schema; throws on one that ajv cannot read. */
  compile() {
    for (const [template, operations] of Object.entries(this.#document.paths)) {
      for (const [method, operation] of Object.entries(operations)) {
        for (const status of Object.keys(operation.responses)) this.#bodyValidator(template, method, status)
      }
    }
  }

  #response(template, method, status) {
    const response = this.#document.paths[template][method].responses[status]
    const name = response?.$ref?.split('/').at(-1)
    return name === undefined ? response : this.#document.components.responses[name]
  }

  #bodyValidator(template, method, status) {
    const reference = this.#document.paths[template][method].responses[status].$ref
    const pointer = reference ?? `#/paths/${escapePointer(template)}/${method}/responses/${status}`
    const response = this.#response(template, method, status)
    if (response.content?.['application/json'] === undefined) return null
    return this.#ajv.getSchema(`${ID}${pointer}/content/application~1json/schema`)
  }

  /**
   * Throws an AssertionError that says what the answer breaks. `path` is without the /api mount and query; `headers` a Headers or Map-like
   * with lower-case get(); `body` the text. An answer to a path or method that the document has not must be a 404 or 405 envelope.
   */
  check({ method, path, status, headers, body }) {
    const verb = method.toLowerCase() === 'head' ? 'get' : method.toLowerCase()
    const here = `${method} ${path} → ${status}`
    assert.ok(headers.get('x-request-id'), `${here}: no X-Request-Id`)
    const known = this.#paths.find(({ template, pattern }) => pattern.test(path) && this.#document.paths[template][verb])
    if (known === undefined) {
      assert.ok(status >= 400, `${here}: the document has no such operation`)
      this.#envelope(here, status, headers, JSON.parse(body))
      return
    }
    const response = this.#response(known.template, verb, String(status))
    assert.ok(response, `${here}: status not declared for ${known.template}`)
    for (const name of Object.keys(response.headers ?? {})) {
      assert.ok(headers.get(name.toLowerCase()) !== null, `${here}: no ${name}`)
    }
    this.#seen.add(`${verb} ${known.template} ${status}`)
    const type = (headers.get('content-type') ?? '').split(';')[0]
    assert.ok(Object.hasOwn(response.content, type), `${here}: content type ${type}`)
    const validate = this.#bodyValidator(known.template, verb, String(status))
    if (validate === null || method === 'HEAD') return
    const value = JSON.parse(body)
    assert.ok(validate(value), `${here}: ${this.#ajv.errorsText(validate.errors, { separator: '; ' })}`)
    if (status >= 400) this.#envelope(here, status, headers, value)
  }

  #envelope(here, status, headers, value) {
    const validate = this.#ajv.getSchema(`${ID}#/components/schemas/ErrorEnvelope`)
    assert.ok(validate(value), `${here}: ${this.#ajv.errorsText(validate.errors)}`)
    assert.equal(value.error.request_id, headers.get('x-request-id'), `${here}: request_id is not X-Request-Id`)
    assert.ok(value.error.doc_url.endsWith('#' + value.error.code), `${here}: doc_url does not lead to its code`)
  }

  /** fetch with the check built in; `base` ends in /api. Resolves to { status, headers, text, json() }. */
  async fetch(base, path, init = {}) {
    const answer = await fetch(base + path, init)
    const text = await answer.text()
    this.check({
      method: init.method ?? 'GET',
      path: path.split('?')[0],
      status: answer.status,
      headers: answer.headers,
      body: text,
    })
    return { status: answer.status, headers: answer.headers, text, json: () => JSON.parse(text) }
  }

  /** Operations whose good answer no test has seen. */
  unseen() {
    const missing = []
    for (const [template, operations] of Object.entries(this.#document.paths)) {
      for (const method of Object.keys(operations)) {
        if (!this.#seen.has(`${method} ${template} 200`)) missing.push(`${method.toUpperCase()} ${template}`)
      }
    }
    return missing
  }
}

function selfTest() {
  const contract = new Contract()
  contract.compile()
  const id = '0b8f7c1e-7f0b-4b0e-9d57-0f1d7b6a2c33'
  const headers = new Map([['x-request-id', id], ['content-type', 'application/json']])
  headers.get = (name) => Map.prototype.get.call(headers, name) ?? null
  const health = { method: 'GET', path: '/health', status: 200, headers, body: '{"ok":true,"server_time":"2026-04-25T14:30:00.000Z"}' }
  contract.check(health)
  assert.throws(() => contract.check({ ...health, body: '{"ok":false,"server_time":"2026-04-25T14:30:00.000Z"}' }))
  assert.throws(() => contract.check({ ...health, body: '{"ok":true}' }))
  assert.throws(() => contract.check({ ...health, body: '{"ok":true,"server_time":"yesterday"}' }))
  assert.throws(() => contract.check({ ...health, status: 418 }))
  const error = { type: 'not_found_error', code: 'resource_not_found', message: 'x', param: null, doc_url: 'https://cw.test/api/errors#resource_not_found', request_id: id }
  const missing = { method: 'GET', path: '/patients/x', status: 404, headers, body: JSON.stringify({ error }) }
  contract.check(missing)
  contract.check({ ...missing, path: '/no-such-thing' })
  assert.throws(() => contract.check({ ...missing, path: '/no-such-thing', status: 200 }))
  assert.throws(() => contract.check({ ...missing, body: JSON.stringify({ error: { ...error, request_id: id.replace('0b', '0c') } }) }))
  assert.throws(() => contract.check({ ...missing, body: JSON.stringify({ error: { ...error, more: 1 } }) }))
  const record = { source: null, resource: { resourceType: 'Patient', id: '1' } }
  const list = { resource_type: 'list', patient_id: 'u', data: [record], has_more: true, next_cursor: 'aB3xK9mQp2Lz', previous_cursor: null }
  const records = { method: 'GET', path: '/patients/u/records', status: 200, headers, body: JSON.stringify(list) }
  contract.check(records)
  assert.throws(() => contract.check({ ...records, body: JSON.stringify({ ...list, next_cursor: 'short' }) }))
  assert.throws(() => contract.check({ ...records, body: JSON.stringify({ ...list, data: [{ resource: {} }] }) }))
  assert.ok(!contract.unseen().includes('GET /health'))
  assert.ok(contract.unseen().includes('POST /patient-sessions'))
  console.log('contract.mjs: ok')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) selfTest()
