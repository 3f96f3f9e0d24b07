// SPDX-License-Identifier: Apache-2.0
// Cuts values out of JSON text without reading them, so that bytes can be compared: JSON.parse would lose 1.10.

// The end (exclusive) of the JSON value that starts at `at`.
export function valueEnd(text, at) {
  if (text[at] === '"') {
    for (let i = at + 1; ; i++) {
      if (text[i] === '\\') i++;
      else if (text[i] === '"') return i + 1;
      else if (i >= text.length) throw new Error('string without an end');
    }
  }
  if (text[at] !== '{' && text[at] !== '[') {
    let i = at;
    while (i < text.length && !/[\s,\]}]/.test(text[i])) i++;
    return i;
  }
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    const c = text[i];
    if (c === '"') i = valueEnd(text, i) - 1;
    else if (c === '{' || c === '[') depth++;
    else if ((c === '}' || c === ']') && --depth === 0) return i + 1;
  }
  throw new Error('value without an end');
}

const blank = (text, at) => {
  while (/\s/.test(text[at] ?? '')) at++;
  return at;
};

// Members of an object as name -> raw text.
export function members(text) {
  const out = new Map();
  let at = blank(text, blank(text, 0) + 1);
  while (text[at] !== '}') {
    const nameEnd = valueEnd(text, at);
    const name = JSON.parse(text.slice(at, nameEnd));
    at = blank(text, blank(text, nameEnd) + 1);
    const end = valueEnd(text, at);
    out.set(name, text.slice(at, end));
    at = blank(text, end);
    if (text[at] === ',') at = blank(text, at + 1);
  }
  return out;
}

// Elements of an array as raw texts.
export function elements(text) {
  const out = [];
  let at = blank(text, blank(text, 0) + 1);
  while (text[at] !== ']') {
    const end = valueEnd(text, at);
    out.push(text.slice(at, end));
    at = blank(text, end);
    if (text[at] === ',') at = blank(text, at + 1);
  }
  return out;
}

// The resources of a page of records, or of a Bundle, as raw texts.
export const recordsOf = (text) => elements(members(text).get('data')).map((row) => members(row).get('resource'));
export const entriesOf = (text) => elements(members(text).get('entry') ?? '[]').map((row) => members(row).get('resource'));
