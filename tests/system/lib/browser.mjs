// SPDX-License-Identifier: Apache-2.0
// A browser without a screen: a cookie jar, redirects, forms. It runs no script, so it also is the patient without one.

const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", '#39': "'", '#34': '"' };
export const unescape = (text) =>
  text.replace(/&(#x[0-9a-f]+|#[0-9]+|[a-z]+);/gi, (all, name) => {
    if (ENTITIES[name]) return ENTITIES[name];
    if (/^#x/i.test(name)) return String.fromCodePoint(parseInt(name.slice(2), 16));
    if (name[0] === '#') return String.fromCodePoint(Number(name.slice(1)));
    return all;
  });

function attributes(tag) {
  const out = {};
  const inner = tag.replace(/^<[a-z0-9]+/i, '').replace(/\/?>$/, '');
  for (const [, name, , double, single, bare] of inner.matchAll(/([a-zA-Z_:][-a-zA-Z0-9_:.]*)(\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/g)) {
    out[name.toLowerCase()] = unescape(double ?? single ?? bare ?? '');
  }
  return out;
}

export class Page {
  constructor(url, status, headers, body) {
    Object.assign(this, { url, status, headers, body });
  }

  get text() {
    return unescape(this.body.replace(/<(script|style)[\s\S]*?<\/\1>/gi, ' ').replace(/<[^>]*>/g, ' ')).replace(/\s+/g, ' ').trim();
  }

  get links() {
    return [...this.body.matchAll(/(<a\s[^>]*>)([\s\S]*?)<\/a>/gi)].map(([, tag, inner]) => ({
      href: attributes(tag).href,
      text: unescape(inner.replace(/<[^>]*>/g, ' ')).replace(/\s+/g, ' ').trim(),
    }));
  }

  get forms() {
    return [...this.body.matchAll(/(<form\b[^>]*>)([\s\S]*?)<\/form>/gi)].map(([, tag, inner]) => {
      const head = attributes(tag);
      const fields = [];
      const buttons = [];
      for (const [, input] of inner.matchAll(/(<input\b[^>]*>)/gi)) {
        const a = attributes(input);
        const type = (a.type ?? 'text').toLowerCase();
        if (type === 'submit') buttons.push({ name: a.name, value: a.value ?? '', text: a.value ?? '' });
        else if (a.name) fields.push({ name: a.name, value: a.value ?? (type === 'checkbox' ? 'on' : ''), type, checked: 'checked' in a });
      }
      for (const [, button, label] of inner.matchAll(/(<button\b[^>]*>)([\s\S]*?)<\/button>/gi)) {
        const a = attributes(button);
        if ((a.type ?? 'submit') === 'submit') {
          buttons.push({ name: a.name, value: a.value ?? '', text: unescape(label.replace(/<[^>]*>/g, ' ')).replace(/\s+/g, ' ').trim() });
        }
      }
      for (const [, select, options] of inner.matchAll(/(<select\b[^>]*>)([\s\S]*?)<\/select>/gi)) {
        const a = attributes(select);
        const all = [...options.matchAll(/(<option\b[^>]*>)/gi)].map(([, o]) => attributes(o));
        const chosen = all.find((o) => 'selected' in o) ?? all[0];
        if (a.name) fields.push({ name: a.name, value: chosen?.value ?? '', type: 'select', checked: false });
      }
      return {
        action: head.action ?? '',
        method: (head.method ?? 'get').toUpperCase(),
        fields,
        buttons,
        html: inner,
        text: unescape(inner.replace(/<[^>]*>/g, ' ')).replace(/\s+/g, ' ').trim(),
      };
    });
  }

  form(pick) {
    const found = this.forms.find(typeof pick === 'function' ? pick : () => true);
    if (!found) throw new Error(`no such form on ${new URL(this.url).pathname} (${this.status}): ${this.text.slice(0, 400)}`);
    return found;
  }
}

export class Browser {
  constructor() {
    this.jar = new Map(); // host:port -> Map(name -> {value, path})
    this.visited = [];
  }

  cookies(url) {
    const { host, pathname } = new URL(url);
    return [...(this.jar.get(host) ?? new Map())].filter(([, c]) => pathname.startsWith(c.path)).map(([name, c]) => `${name}=${c.value}`);
  }

  #keep(url, headers) {
    const { host, pathname } = new URL(url);
    for (const line of headers.getSetCookie()) {
      const [pair, ...rest] = line.split(';').map((part) => part.trim());
      const at = pair.indexOf('=');
      const name = pair.slice(0, at);
      const options = Object.fromEntries(rest.map((part) => part.split('=')).map(([k, v]) => [k.toLowerCase(), v ?? '']));
      const jar = this.jar.get(host) ?? new Map();
      this.jar.set(host, jar);
      const dead = options['max-age'] !== undefined ? Number(options['max-age']) <= 0 : options.expires && new Date(options.expires) < new Date();
      if (dead) jar.delete(name);
      else jar.set(name, { value: pair.slice(at + 1), path: options.path || pathname.replace(/\/[^/]*$/, '') || '/' });
    }
  }

  // One request, no redirect followed. What it answers is a Page.
  async once(url, { method = 'GET', body, headers = {} } = {}) {
    const cookies = this.cookies(url);
    const answer = await fetch(url, {
      method,
      redirect: 'manual',
      headers: {
        accept: 'text/html,application/xhtml+xml',
        'accept-language': 'en',
        ...(cookies.length ? { cookie: cookies.join('; ') } : {}),
        ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
        ...headers,
      },
      body,
    });
    this.#keep(url, answer.headers);
    this.visited.push(url);
    return new Page(url, answer.status, answer.headers, await answer.text());
  }

  // Follows redirects, but never to a host that is in `stopAt`: such a Page has `location`.
  async open(url, options = {}, { stopAt = (target) => target.hostname === 'app.example', max = 20 } = {}) {
    let page = await this.once(url, options);
    for (let hops = 0; page.status >= 300 && page.status < 400 && page.headers.get('location'); hops++) {
      if (hops === max) throw new Error('redirects without an end');
      const target = new URL(page.headers.get('location'), page.url);
      page.location = target.href;
      if (stopAt(target)) return page;
      page = await this.once(target.href);
    }
    return page;
  }

  // Sends a form with `values` over its fields' own; a value of null leaves the field out, an array repeats it.
  // `button` chooses by name, value or text.
  submit(page, form, values = {}, { button, ...rest } = {}) {
    const data = new URLSearchParams();
    const given = new Set(Object.keys(values));
    for (const field of form.fields) {
      if (given.has(field.name)) continue;
      if ((field.type === 'checkbox' || field.type === 'radio') && !field.checked) continue;
      data.append(field.name, field.value);
    }
    for (const [name, value] of Object.entries(values)) {
      for (const one of Array.isArray(value) ? value : value === null ? [] : [value]) data.append(name, one);
    }
    const pressed = button === undefined ? form.buttons[0] : form.buttons.find((b) => b.value === button || b.name === button || b.text.includes(button));
    if (button !== undefined && !pressed) throw new Error(`no button ${button}: ${form.text}`);
    if (pressed?.name) data.append(pressed.name, pressed.value);
    const target = new URL(form.action || page.url, page.url);
    if (form.method === 'GET') {
      target.search = data.toString();
      return this.open(target.href, {}, rest);
    }
    return this.open(target.href, { method: 'POST', body: data.toString(), headers: { origin: new URL(page.url).origin } }, rest);
  }
}
