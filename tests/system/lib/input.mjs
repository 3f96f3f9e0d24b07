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

// Two small charts that have what the quirks of vendors hang on: categories, documents of every kind, odd ids, masked entries.
export function quirkCharts() {
  const subject = { reference: 'Patient/quirk-1' };
  const coded = (code, system) => [{ coding: [{ ...(system ? { system } : {}), code }] }];
  const observation = (i, category, more = {}) => ({ resourceType: 'Observation', id: `q-obs-${i}`, meta: { lastUpdated: `2024-03-01T10:00:${String(i % 60).padStart(2, '0')}Z` },
    status: 'final', category: coded(category), code: { text: `Measured ${i}` }, subject, valueQuantity: { value: i + 0.25 }, ...more });
  const attachment = (id, contentType) => ({ attachment: { contentType, url: `Binary/${id}` } });
  const document = (id, content) => ({ resourceType: 'DocumentReference', id, status: 'current', type: { text: 'Note' }, category: coded('clinical-note'), subject, content });
  const binary = (id, contentType, text) => ({ resourceType: 'Binary', id, contentType, securityContext: subject, data: Buffer.from(text).toString('base64') });
  const lines = [
    { resourceType: 'Patient', id: 'quirk-1', name: [{ family: 'Quirk', given: ['Quinn'] }], birthDate: '1980-08-08' },
    { resourceType: 'Coverage', id: 'q-coverage', status: 'active', beneficiary: subject, payor: [{ display: 'Payer' }] },
    { resourceType: 'AllergyIntolerance', id: 'q-allergy', patient: subject, code: { text: 'Pollen' } },
    ...['problem-list-item', 'encounter-diagnosis', 'health-concern'].map((c, i) => ({ resourceType: 'Condition', id: `q-condition-${i}`, category: coded(c), subject, code: { text: c } })),
    { resourceType: 'MedicationRequest', id: 'q-order', status: 'active', intent: 'order', subject, medicationCodeableConcept: { text: 'A' } },
    { resourceType: 'MedicationRequest', id: 'q-plan', status: 'active', intent: 'plan', subject, medicationCodeableConcept: { text: 'B' } },
    { resourceType: 'Immunization', id: 'q-immunization', status: 'completed', patient: subject, vaccineCode: { text: 'Flu' } },
    document('q-doc-several', [attachment('XR-1', 'application/pdf'), attachment('XML-1', 'application/xml')]),
    document('q-doc-text', [attachment('q-note-1', 'text/plain')]),
    document('q-doc-more', [attachment('q-note-2', 'text/plain')]),
    document('q-doc-inline', [{ attachment: { contentType: 'text/plain', data: Buffer.from('inside').toString('base64') } }]),
    binary('XR-1', 'application/pdf', '%PDF-1.4 none'), binary('XML-1', 'application/xml', '<a/>'),
    binary('q-note-1', 'text/plain', 'first'), binary('q-note-2', 'text/plain', 'second'),
    ...Array.from({ length: 60 }, (_, i) => observation(i, 'laboratory')),
    observation(60, 'vital-signs'), observation(61, 'social-history'),
    // As Oracle masks what was entered in error: what must be there is not.
    { resourceType: 'Observation', id: 'q-obs-masked', status: 'entered-in-error', category: coded('laboratory'), subject,
      _code: { extension: [{ url: 'http://hl7.org/fhir/StructureDefinition/data-absent-reason', valueCode: 'masked' }] } },
    { resourceType: 'DiagnosticReport', id: 'q-report', status: 'final', category: coded('LAB'), code: { text: 'Panel' }, subject, result: [{ reference: 'Observation/q-obs-1' }] },
    { resourceType: 'Encounter', id: 'q-encounter', status: 'finished', class: { code: 'AMB' }, subject, episodeOfCare: [{ reference: 'EpisodeOfCare/q-episode' }] },
    { resourceType: 'EpisodeOfCare', id: 'q-episode', status: 'active', patient: subject },
    { resourceType: 'Procedure', id: 'q-procedure', status: 'completed', code: { text: 'Cast' }, subject },
    { resourceType: 'CarePlan', id: 'q-careplan', status: 'active', intent: 'plan', subject,
      category: [{ coding: [{ code: 'assess-plan' }, { system: 'http://snomed.info/sct', code: '734163000' }] }] },
    { resourceType: 'CareTeam', id: 'q-team', status: 'active', subject },
    { resourceType: 'Goal', id: 'q-goal', lifecycleStatus: 'active', description: { text: 'Walk' }, subject },
    { resourceType: 'Device', id: 'q-device', status: 'active', patient: subject },
    { resourceType: 'FamilyMemberHistory', id: 'q-family', status: 'completed', patient: subject, relationship: { text: 'father' } },
    { resourceType: 'ServiceRequest', id: 'q-service', status: 'active', intent: 'order', subject },
    { resourceType: 'MedicationDispense', id: 'q-dispense', status: 'completed', subject, medicationCodeableConcept: { text: 'A' } },
    ...blueButtonChart(),
  ];
  return lines.map((line) => JSON.stringify(line)).join('\n');
}

// Patients whose charts the tests change between pulls, one a personality.
export function editCharts() {
  const subjects = ['edit-1', 'edit-2', 'edit-3', 'edit-4', 'edit-5'];
  return subjects.flatMap((id, n) => [
    { resourceType: 'Patient', id, name: [{ family: ['One', 'Two', 'Three', 'Four', 'Five'][n], given: ['Edith'] }], birthDate: '1970-01-01' },
    ...Array.from({ length: 120 }, (_, i) => editObservation(id, `${id}-obs-${i}`, '2024-05-01T10:00:00Z', i)),
    ...Array.from({ length: 8 }, (_, i) => ({ resourceType: 'Condition', id: `${id}-condition-${i}`, meta: { lastUpdated: '2024-05-02T10:00:00Z' },
      subject: { reference: `Patient/${id}` }, category: [{ coding: [{ code: 'problem-list-item' }] }], code: { text: `Trouble ${i}` } })),
    ...Array.from({ length: 3 }, (_, i) => ({ resourceType: 'Goal', id: `${id}-goal-${i}`, lifecycleStatus: 'active', description: { text: `Goal ${i}` }, subject: { reference: `Patient/${id}` } })),
  ]).map((line) => JSON.stringify(line)).join('\n');
}

export const editObservation = (patient, id, lastUpdated, value) => ({ resourceType: 'Observation', id, meta: { lastUpdated }, status: 'final',
  category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/observation-category', code: 'laboratory' }] }], code: { text: 'Edited' },
  subject: { reference: `Patient/${patient}` }, valueQuantity: { value } });

// Claims as CMS writes them: opaque negative ids, contained and logical references, no Practitioner to read.
function blueButtonChart() {
  const patient = { reference: 'Patient/-20140000008325' };
  const claim = (i) => ({ resourceType: 'ExplanationOfBenefit', id: `carrier--${10000 + i}`, status: 'active', use: 'claim', patient,
    contained: [{ resourceType: 'Organization', id: 'provider-org', name: 'Clinic' }], provider: { reference: '#provider-org' },
    careTeam: [{ sequence: 1, provider: { identifier: { system: 'http://hl7.org/fhir/sid/us-npi', value: '999999999999' } } }],
    insurance: [{ focal: true, coverage: { reference: 'Coverage/part-a--20140000008325' } }], total: [{ amount: { value: 120.5 } }] });
  return [
    { resourceType: 'Patient', id: '-20140000008325', name: [{ family: 'Bluebutton', given: ['Bea'] }], birthDate: '1941-01-01' },
    { resourceType: 'Coverage', id: 'part-a--20140000008325', status: 'active', beneficiary: patient },
    ...Array.from({ length: 23 }, (_, i) => claim(i)),
  ];
}
