// SPDX-License-Identifier: Apache-2.0
// Forms that lead away: Direct mode submits its own, and no form is sent twice by an impatient press.

const arrivedByHistory = () => performance.getEntriesByType('navigation')[0]?.type === 'back_forward';

/** Submits Direct mode's form, unless the patient came here by going back: then a press decides. */
export function goOn(form) {
  if (arrivedByHistory()) return;
  const note = form.querySelector('[data-wait]');
  if (note) note.hidden = false;
  form.requestSubmit();
}

/** After the first press the buttons say so and do nothing, until the page is shown again. */
export function sendOnce(form) {
  let sent = false;
  const buttons = () => form.querySelectorAll('button');
  form.addEventListener('submit', (event) => {
    if (sent) {
      event.preventDefault();
      return;
    }
    sent = true;
    for (const button of buttons()) button.setAttribute('aria-disabled', 'true');
  });
  addEventListener('pageshow', () => {
    sent = false;
    for (const button of buttons()) button.removeAttribute('aria-disabled');
  });
}
