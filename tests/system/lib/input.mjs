// SPDX-License-Identifier: Apache-2.0
// Input of our own for the sandbox hospital: a transaction Bundle with urn:uuid references, and NDJSON.

const uuid = (n) => `urn:uuid:00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

export function transactionBundle() {
  const entry = (n, resource) => ({ fullUrl: uuid(n), resource, request: { method: 'POST', url: resource.resourceType } });
  const subject = { reference: uuid(1) };
  const entries = [
    entry(1, { resourceType: 'Patient', id: '00000000-0000-4000-8000-000000000001', name: [{ family: 'Bundleson', given: ['Berit'] }], birthDate: '1970-01-01' }),
    ...Array.from({ length: 40 }, (_, i) =>
      entry(10 + i, { resourceType: 'Observation', id: `00000000-0000-4000-8000-${String(10 + i).padStart(12, '0')}`, status: 'final', subject,
        category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/observation-category', code: 'laboratory' }] }],
        code: { text: `Test ${i}` }, valueQuantity: { value: i + 0.5 } })),
    ...Array.from({ length: 5 }, (_, i) =>
      entry(100 + i, { resourceType: 'Condition', id: `00000000-0000-4000-8000-${String(100 + i).padStart(12, '0')}`, subject, code: { text: `Condition ${i}` } })),
  ];
  return JSON.stringify({ resourceType: 'Bundle', type: 'transaction', entry: entries }, null, 1);
}

export function ndjson() {
  const lines = [{ resourceType: 'Patient', id: 'ndjson-1', name: [{ family: 'Linewise', given: ['Nadia'] }], birthDate: '1960-02-03' }];
  for (let i = 0; i < 30; i++) {
    lines.push({ resourceType: 'Observation', id: `nd-${i}`, status: 'final', subject: { reference: 'Patient/ndjson-1' },
      category: [{ coding: [{ code: 'vital-signs' }] }], code: { text: `Line ${i}` } });
  }
  return lines.map((line) => JSON.stringify(line)).join('\n');
}
