// SPDX-License-Identifier: Apache-2.0
// Search as you type: an editable combobox with list autocomplete, after the ARIA Authoring Practices. Focus stays in the input;
// the active option is named by aria-activedescendant. Choosing one shows that source alone, with the button that goes on: a name found by typing
// is confirmed before the browser leaves. Without an active option Enter submits the form, which is the search without script.

const WAIT_MS = 150;
const SHORTEST = 2;

/** Asks the server; a newer question ends an older one. */
class Finder {
  #url;
  #running;

  constructor(url) {
    this.#url = url;
  }

  cancel() {
    this.#running?.abort();
  }

  async find(text) {
    this.cancel();
    this.#running = new AbortController();
    const response = await fetch(`${this.#url}?q=${encodeURIComponent(text)}`, {
      signal: this.#running.signal,
      headers: { Accept: 'application/json' },
    });
    if (!response.ok) throw new Error(`search answered ${response.status}`);
    return response.json();
  }
}

const element = (name, className, text) => {
  const made = document.createElement(name);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

class Combobox {
  #field;
  #input;
  #list;
  #status;
  #results;
  #finder;
  #hits = [];
  #active = -1;
  #timer;

  constructor(field) {
    this.#field = field;
    this.#input = field.querySelector('input');
    this.#results = document.getElementById(field.dataset.results);
    this.#finder = new Finder(field.dataset.combobox);
    this.#list = element('ul', 'suggestions');
    this.#list.id = `${this.#input.id}-list`;
    this.#list.hidden = true;
    this.#list.setAttribute('role', 'listbox');
    this.#list.setAttribute('aria-labelledby', this.#labelId());
    this.#status = element('div', 'visually-hidden');
    this.#status.setAttribute('role', 'status');
    field.append(this.#list, this.#status);
    for (const [name, value] of [
      ['role', 'combobox'],
      ['aria-autocomplete', 'list'],
      ['aria-expanded', 'false'],
      ['aria-controls', this.#list.id],
    ]) this.#input.setAttribute(name, value);
    this.#listen();
  }

  #labelId() {
    const label = this.#input.labels[0];
    label.id ||= `${this.#input.id}-label`;
    return label.id;
  }

  #listen() {
    this.#input.addEventListener('input', () => this.#typed());
    this.#input.addEventListener('keydown', (event) => this.#key(event));
    this.#input.addEventListener('blur', () => this.#close());
    this.#list.addEventListener('mousedown', (event) => event.preventDefault()); // keeps the focus in the input
    this.#list.addEventListener('click', (event) => {
      const option = event.target.closest('[role="option"]');
      if (option) this.#choose([...this.#list.children].indexOf(option));
    });
  }

  #typed() {
    clearTimeout(this.#timer);
    const text = this.#input.value.trim();
    if (text.length < SHORTEST) {
      this.#finder.cancel();
      this.#close();
      this.#status.textContent = '';
      return;
    }
    this.#timer = setTimeout(() => this.#ask(text), WAIT_MS);
  }

  async #ask(text) {
    try {
      const answer = await this.#finder.find(text);
      if (this.#input.value.trim() !== text) return;
      this.#show(answer);
    } catch (fault) {
      if (fault.name === 'AbortError') return;
      this.#close();
      this.#status.textContent = document.getElementById('unavailable').content.textContent.trim();
    }
  }

  #show({ results, summary }) {
    this.#hits = results;
    this.#active = -1;
    this.#list.replaceChildren(...results.map((hit, at) => this.#option(hit, at)));
    this.#status.textContent = summary;
    if (results.length === 0) {
      this.#close();
      return;
    }
    this.#open();
    this.#mark(-1);
  }

  #option(hit, at) {
    const option = element('li', 'option');
    option.id = `${this.#list.id}-${at}`;
    option.setAttribute('role', 'option');
    option.setAttribute('aria-selected', 'false');
    option.append(element('span', 'name', hit.name));
    if (hit.place) option.append(element('span', 'place', hit.place));
    if (hit.host) option.append(element('span', 'host', hit.host));
    return option;
  }

  #open() {
    this.#list.hidden = false;
    this.#input.setAttribute('aria-expanded', 'true');
  }

  #close() {
    this.#list.hidden = true;
    this.#active = -1;
    this.#input.setAttribute('aria-expanded', 'false');
    this.#input.removeAttribute('aria-activedescendant');
  }

  #mark(at) {
    this.#active = at;
    for (const [i, option] of [...this.#list.children].entries()) option.setAttribute('aria-selected', String(i === at));
    const option = this.#list.children[at];
    if (option) {
      this.#input.setAttribute('aria-activedescendant', option.id);
      option.scrollIntoView({ block: 'nearest' });
    } else {
      this.#input.removeAttribute('aria-activedescendant');
    }
  }

  #move(step) {
    if (this.#hits.length === 0) return;
    const count = this.#hits.length;
    if (this.#list.hidden) {
      this.#open();
      this.#mark(step > 0 ? 0 : count - 1);
      return;
    }
    const next = this.#active < 0 && step < 0 ? count - 1 : (this.#active + step + count) % count;
    this.#mark(next);
  }

  #key(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey) return;
    switch (event.key) {
      case 'ArrowDown':
      case 'ArrowUp':
        event.preventDefault();
        this.#move(event.key === 'ArrowDown' ? 1 : -1);
        break;
      case 'Enter':
        if (this.#active >= 0) {
          event.preventDefault();
          this.#choose(this.#active);
        }
        break;
      case 'Escape':
        event.preventDefault();
        if (this.#list.hidden) this.#input.value = '';
        this.#close();
        break;
      default:
    }
  }

  /** Puts the one chosen source in the place of the list. */
  #choose(at) {
    const hit = this.#hits[at];
    const card = document.getElementById('chosen').content.cloneNode(true);
    for (const part of ['name', 'place', 'host']) {
      const line = card.querySelector(`.${part}`);
      if (hit[part]) line.textContent = hit[part];
      else line.remove();
    }
    const button = card.querySelector('button');
    button.value = hit.id;
    button.textContent = hit.go_on;
    this.#input.value = hit.name;
    this.#close();
    const token = this.#results.querySelector('input[name="token"]');
    this.#results.replaceChildren(token, card);
    this.#results.querySelector('h2').focus();
  }
}

export function attachCombobox(field) {
  return new Combobox(field);
}
