// SPDX-License-Identifier: Apache-2.0
// Enhancement only: every page works without it. Direct mode goes on by itself, and the search gets suggestions.
import { attachCombobox } from './combobox.js';
import { goOn, sendOnce } from './going.js';

for (const field of document.querySelectorAll('[data-combobox]')) attachCombobox(field);
for (const form of document.querySelectorAll('form[method="post"]')) sendOnce(form);
for (const form of document.querySelectorAll('form[data-go]')) goOn(form);
