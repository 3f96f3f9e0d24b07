-- SPDX-License-Identifier: Apache-2.0
--
-- The schema that issue 2 stands on, and what design section 13 says is expensive to change later.
--
-- Conventions: own ids are ULIDs in BINARY(16); times DATETIME(3) UTC; *_sealed columns hold AES-256-GCM ciphertext whose
-- AAD is "table.column" + the row's id; key_version says which version of the owner's data key sealed the row.
-- Enumerations are small integers, named in src/model/*.h, so that adding a state is no table rebuild.

-- ------------------------------------------------------------------------------------------------ tenants and keys

CREATE TABLE organization (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  name                VARCHAR(200) NOT NULL,
  environment         TINYINT UNSIGNED NOT NULL,              -- 1 sandbox, 2 production
  identifier_system   VARBINARY(255) NULL,                    -- NULL: the configured one
  signature_header    VARBINARY(64) NULL,
  direct_press        BOOLEAN NOT NULL DEFAULT FALSE,         -- Direct mode goes on by a press, not by itself
  created_at          DATETIME(3) NOT NULL,
  UNIQUE KEY (name, environment)
) ENGINE=InnoDB CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Wrapped data keys of organizations, and of the installation (owner all zero: client registrations, signing keys).
CREATE TABLE data_key (
  owner               BINARY(16) NOT NULL,
  version             INT UNSIGNED NOT NULL,
  wrapped             BINARY(61) NOT NULL,
  master_key_id       VARBINARY(32) NOT NULL,
  created_at          DATETIME(3) NOT NULL,
  PRIMARY KEY (owner, version)
) ENGINE=InnoDB;

-- Wrapped keys of patients: a table of its own, kept out of record backups (design 13, Deletion).
CREATE TABLE patient_key (
  patient             BINARY(16) NOT NULL,
  version             INT UNSIGNED NOT NULL,
  wrapped             BINARY(61) NOT NULL,
  master_key_id       VARBINARY(32) NOT NULL,
  created_at          DATETIME(3) NOT NULL,
  PRIMARY KEY (patient, version)
) ENGINE=InnoDB;

-- Origins and schemes that a production return_url must match.
CREATE TABLE organization_return (
  organization        BINARY(16) NOT NULL,
  target              VARBINARY(255) NOT NULL,                -- "https://app.example" or "com.example.app:"
  created_at          DATETIME(3) NOT NULL,
  PRIMARY KEY (organization, target)
) ENGINE=InnoDB;

CREATE TABLE api_key (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  organization        BINARY(16) NOT NULL,
  jti_hash            BINARY(32) NOT NULL,                    -- SHA-256 of the token's jti; the token itself is nowhere
  name                VARCHAR(200) NOT NULL,
  scopes              VARBINARY(1024) NOT NULL,               -- blank separated
  created_at          DATETIME(3) NOT NULL,
  expires_at          DATETIME(3) NULL,
  revoked_at          DATETIME(3) NULL,
  last_used_at        DATETIME(3) NULL,                       -- to the minute, by the audit batch
  UNIQUE KEY (jti_hash),
  KEY (organization, created_at)
) ENGINE=InnoDB CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- ------------------------------------------------------------------------------------------------ the catalogue

-- Where data is: a FHIR base URL, unique in its environment. Many sources can share one.
CREATE TABLE endpoint (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  environment         TINYINT UNSIGNED NOT NULL,
  url                 VARBINARY(2048) NOT NULL,               -- as published: it is the `aud`
  url_hash            BINARY(32) NOT NULL,                    -- SHA-256 of the normalised base
  primary_source      BINARY(16) NULL,                        -- what a raw URL on the wire means
  vendor              VARBINARY(64) NULL,                     -- profile name; chooses quirks, never credentials
  fhir_version        VARBINARY(16) NULL,
  -- last good discovery, pinned per attempt; a changed issuer, authorization or token host is held for the operator
  issuer              VARBINARY(2048) NULL,
  authorization_url   VARBINARY(2048) NULL,
  token_url           VARBINARY(2048) NULL,
  revocation_url      VARBINARY(2048) NULL,
  jwks_url            VARBINARY(2048) NULL,
  discovery           MEDIUMBLOB NULL,                        -- the document, for capabilities and scopes
  discovered_at       DATETIME(3) NULL,
  held_discovery      MEDIUMBLOB NULL,                        -- waits for `source approve`
  held_at             DATETIME(3) NULL,
  capability          MEDIUMBLOB NULL,                        -- summary JSON of the CapabilityStatement
  capability_at       DATETIME(3) NULL,
  retry_after         DATETIME(3) NULL,                       -- the host asked for quiet until then
  created_at          DATETIME(3) NOT NULL,
  UNIQUE KEY (environment, url_hash)
) ENGINE=InnoDB;

-- What a patient chooses. On the wire: /connections, fhirsrc_… . Ids live for ever: a retired one points to its successor.
CREATE TABLE source (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  environment         TINYINT UNSIGNED NOT NULL,
  endpoint            BINARY(16) NOT NULL,
  tenant_context      VARBINARY(255) NOT NULL DEFAULT '',     -- practice behind a shared endpoint (athena ah-practice)
  identity_hash       BINARY(32) NOT NULL,                    -- importer's stable identity: endpoint + name + place
  name                VARCHAR(512) NOT NULL,
  brand               VARCHAR(512) NULL,
  portal_name         VARCHAR(512) NULL,
  portal_url          VARBINARY(2048) NULL,
  logo_url            VARBINARY(2048) NULL,
  vendor              VARBINARY(64) NULL,                     -- the contract's `type`
  address_line        VARCHAR(512) NULL,
  city                VARCHAR(128) NULL,
  state               VARCHAR(64) NULL,
  postal_code         VARCHAR(32) NULL,
  country             VARCHAR(64) NULL,
  aliases             TEXT NULL,                              -- one a line; searched, not shown
  imported_from       BINARY(16) NULL,                        -- catalog_import
  retired_at          DATETIME(3) NULL,
  successor           BINARY(16) NULL,
  created_at          DATETIME(3) NOT NULL,
  updated_at          DATETIME(3) NOT NULL,
  UNIQUE KEY (environment, identity_hash),
  KEY (endpoint),
  KEY (environment, id),
  KEY (updated_at)
) ENGINE=InnoDB CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Identifiers of a brand (NPI, CLIA, domain …), for matching over imports.
CREATE TABLE source_identifier (
  source              BINARY(16) NOT NULL,
  system              VARBINARY(255) NOT NULL,
  value               VARBINARY(255) NOT NULL,
  PRIMARY KEY (source, system, value),
  KEY (system, value)
) ENGINE=InnoDB;

CREATE TABLE catalog_import (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  environment         TINYINT UNSIGNED NOT NULL,
  format              VARBINARY(64) NOT NULL,
  content_hash        BINARY(32) NOT NULL,
  rows_read           INT UNSIGNED NOT NULL,
  rows_created        INT UNSIGNED NOT NULL,
  rows_changed        INT UNSIGNED NOT NULL,
  rows_quarantined    INT UNSIGNED NOT NULL,
  created_at          DATETIME(3) NOT NULL,
  KEY (created_at)
) ENGINE=InnoDB;

-- Counts up with every catalogue change: the search index compares it to know that it is stale.
CREATE TABLE catalog_generation (
  environment         TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  generation          BIGINT UNSIGNED NOT NULL
) ENGINE=InnoDB;
INSERT INTO catalog_generation (environment, generation) VALUES (1, 0), (2, 0);

-- Our client at a vendor or a single source. Used only where FHIR base, authorization and token hosts all match a pattern.
CREATE TABLE client_registration (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  slug                VARBINARY(32) NOT NULL,                 -- path of the redirect URI: /callback/{slug}
  environment         TINYINT UNSIGNED NOT NULL,
  vendor              VARBINARY(64) NULL,                     -- one of vendor and source
  source              BINARY(16) NULL,
  client_id           VARBINARY(512) NOT NULL,
  auth_method         TINYINT UNSIGNED NOT NULL,              -- 1 none, 2 basic, 3 post, 4 private_key_jwt
  secret_sealed       VARBINARY(4096) NULL,                   -- under the installation's key
  key_version         INT UNSIGNED NOT NULL,
  scopes              VARBINARY(4096) NULL,                   -- literal; NULL: by profile and discovery
  profile             VARBINARY(64) NULL,                     -- overrides the vendor profile
  disabled_at         DATETIME(3) NULL,
  created_at          DATETIME(3) NOT NULL,
  UNIQUE KEY (slug),
  KEY (environment, vendor),
  KEY (source)
) ENGINE=InnoDB;

CREATE TABLE client_registration_host (
  registration        BINARY(16) NOT NULL,
  pattern             VARBINARY(255) NOT NULL,                -- "host", "host:port" or "*.suffix"
  PRIMARY KEY (registration, pattern)
) ENGINE=InnoDB;

-- Keys for client assertions: current and next are published, next signs after its time.
CREATE TABLE signing_key (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  alg                 VARBINARY(8) NOT NULL,                  -- RS384, ES384
  stage               TINYINT UNSIGNED NOT NULL,              -- 1 next, 2 current, 3 previous, 4 retired
  kid                 VARBINARY(64) NOT NULL,
  jwk                 VARBINARY(2048) NOT NULL,               -- public members
  private_sealed      VARBINARY(4096) NOT NULL,               -- PKCS#8 under the installation's key
  key_version         INT UNSIGNED NOT NULL,
  created_at          DATETIME(3) NOT NULL,
  stage_since         DATETIME(3) NOT NULL,
  UNIQUE KEY (kid),
  KEY (stage, alg)
) ENGINE=InnoDB;

-- ------------------------------------------------------------------------------------------------ patients and Sessions

CREATE TABLE patient (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  organization        BINARY(16) NOT NULL,
  patient_id          VARBINARY(800) NOT NULL,                -- the app's; compared bytewise
  name_sealed         VARBINARY(1024) NULL,
  email_sealed        VARBINARY(512) NULL,
  email_index         BINARY(32) NULL,                        -- HMAC(search key, organization + lower-cased NFC)
  metadata_sealed     MEDIUMBLOB NULL,                        -- NULL: {}
  key_version         INT UNSIGNED NOT NULL,
  change_seq          BIGINT UNSIGNED NOT NULL DEFAULT 0,     -- last number given to a stored record version
  created_at          DATETIME(3) NOT NULL,
  updated_at          DATETIME(3) NOT NULL,
  UNIQUE KEY (organization, patient_id),
  KEY (organization, id),
  KEY (organization, email_index, id)
) ENGINE=InnoDB;

-- What deletion leaves: enough to reapply it after a restore. Also in the journal outside the database.
CREATE TABLE tombstone (
  patient             BINARY(16) NOT NULL PRIMARY KEY,
  organization        BINARY(16) NOT NULL,
  deleted_at          DATETIME(3) NOT NULL,
  final_at            DATETIME(3) NOT NULL
) ENGINE=InnoDB;

CREATE TABLE patient_session (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  organization        BINARY(16) NOT NULL,
  patient             BINARY(16) NOT NULL,
  status              TINYINT UNSIGNED NOT NULL,              -- 1 open, 2 complete, 3 expired
  ended_reason        TINYINT UNSIGNED NOT NULL DEFAULT 0,    -- 0 none, 1 done, 2 returned, 3 timed out, 4 cancelled
  secret_hash         BINARY(32) NOT NULL,                    -- SHA-256 of the URL's secret
  secret_sealed       VARBINARY(64) NOT NULL,                 -- under the organization's key: the wire asks for `url`
  direct_source       BINARY(16) NULL,                        -- Direct mode
  reconnect           BINARY(16) NULL,                        -- connection that this Session is to reconnect
  recommended         VARBINARY(800) NULL,                    -- source ids, 16 bytes each, in order; NULL in Direct mode
  return_url          VARBINARY(2048) NOT NULL,
  cancel_url          VARBINARY(2048) NULL,
  return_label        VARCHAR(60) NULL,
  metadata_sealed     MEDIUMBLOB NULL,                        -- under the patient's key; NULL: {}
  org_key_version     INT UNSIGNED NOT NULL,
  key_version         INT UNSIGNED NOT NULL,
  require_return_proof BOOLEAN NOT NULL DEFAULT FALSE,
  return_code_hash    BINARY(32) NULL,
  expires_at          DATETIME(3) NOT NULL,
  ended_at            DATETIME(3) NULL,
  created_at          DATETIME(3) NOT NULL,
  UNIQUE KEY (secret_hash),
  KEY (organization, id),
  KEY (patient, id),
  KEY (status, expires_at)
) ENGINE=InnoDB CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One try at making a connection. The row is there from the press on "continue": nothing fails silently.
CREATE TABLE attempt (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  session             BINARY(16) NOT NULL,
  organization        BINARY(16) NOT NULL,
  patient             BINARY(16) NOT NULL,
  source              BINARY(16) NOT NULL,
  endpoint            BINARY(16) NOT NULL,
  registration        BINARY(16) NULL,
  connection          BINARY(16) NOT NULL,                    -- conn_ id from the start; an existing one after a reconnect
  status              TINYINT UNSIGNED NOT NULL,              -- 1 started, 2 exchanging, 3 connected, 4 failed
  failure_code        VARBINARY(64) NULL,
  failure_sealed      VARBINARY(2048) NULL,                   -- upstream's words, under the patient's key, for the operator
  state_hash          BINARY(32) NULL,                        -- SHA-256 of the state's jti; NULL when it never left
  state_expires_at    DATETIME(3) NOT NULL,
  browser_hash        BINARY(32) NOT NULL,                    -- SHA-256 of the browser-binding cookie
  verifier_sealed     VARBINARY(160) NULL,                    -- PKCE; NULL once used
  nonce_sealed        VARBINARY(160) NULL,
  redirect_uri        VARBINARY(2048) NULL,
  scopes_asked        VARBINARY(8192) NULL,
  scopes_granted      VARBINARY(8192) NULL,
  pinned              MEDIUMBLOB NULL,                        -- JSON: issuer and endpoints as discovered at the start
  key_version         INT UNSIGNED NOT NULL,
  language            VARBINARY(35) NOT NULL,
  started_at          DATETIME(3) NOT NULL,
  ended_at            DATETIME(3) NULL,
  UNIQUE KEY (state_hash),
  KEY (session, id),
  KEY (patient, id),
  KEY (status, state_expires_at)
) ENGINE=InnoDB;

-- What the patient was told and agreed to, with each attempt.
CREATE TABLE consent_receipt (
  attempt             BINARY(16) NOT NULL PRIMARY KEY,
  patient             BINARY(16) NOT NULL,
  text_version        VARBINARY(64) NOT NULL,                 -- hash of the shown text
  language            VARBINARY(35) NOT NULL,
  organization_name   VARCHAR(200) NOT NULL,
  source_name         VARCHAR(512) NOT NULL,
  scopes              VARBINARY(8192) NOT NULL,
  created_at          DATETIME(3) NOT NULL,
  KEY (patient, created_at)
) ENGINE=InnoDB CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- ------------------------------------------------------------------------------------------------ connections and grants

CREATE TABLE connection (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  organization        BINARY(16) NOT NULL,
  patient             BINARY(16) NOT NULL,
  endpoint            BINARY(16) NOT NULL,
  source              BINARY(16) NOT NULL,
  registration        BINARY(16) NOT NULL,
  session             BINARY(16) NULL,                        -- the last that connected it
  tenant_context      VARBINARY(255) NOT NULL DEFAULT '',
  upstream_hash       BINARY(32) NOT NULL,                    -- HMAC under the patient's key of the upstream patient id
  upstream_sealed     VARBINARY(512) NOT NULL,
  status              TINYINT UNSIGNED NOT NULL,              -- 1 active, 2 failed, 3 expired, 4 refresh_failed, 5 disconnected
  failure_code        VARBINARY(64) NULL,
  failure_at          DATETIME(3) NULL,
  scopes              VARBINARY(8192) NOT NULL,
  one_time            BOOLEAN NOT NULL DEFAULT FALSE,         -- no refresh token: ends with its access token
  pinned              MEDIUMBLOB NOT NULL,
  key_version         INT UNSIGNED NOT NULL,
  next_pull_at        DATETIME(3) NULL,
  created_at          DATETIME(3) NOT NULL,
  updated_at          DATETIME(3) NOT NULL,
  UNIQUE KEY (patient, endpoint, tenant_context, upstream_hash),
  KEY (organization, id),
  KEY (patient, created_at),
  KEY (status, next_pull_at)
) ENGINE=InnoDB;

-- The tokens: sealed, versioned (compare-and-swap), with the refresher's lease and write-ahead intent.
CREATE TABLE token_grant (
  connection          BINARY(16) NOT NULL PRIMARY KEY,
  version             INT UNSIGNED NOT NULL,
  access_sealed       MEDIUMBLOB NOT NULL,
  refresh_sealed      MEDIUMBLOB NULL,
  key_version         INT UNSIGNED NOT NULL,
  token_type          VARBINARY(32) NOT NULL,
  obtained_at         DATETIME(3) NOT NULL,
  expires_at          DATETIME(3) NOT NULL,
  refresh_started_at  DATETIME(3) NULL,                       -- write-ahead: a refresh may have reached the server
  refresh_tries       INT UNSIGNED NOT NULL DEFAULT 0,
  lease_owner         VARBINARY(64) NULL,
  lease_until         DATETIME(3) NULL,
  fence               BIGINT UNSIGNED NOT NULL DEFAULT 0,
  KEY (expires_at)
) ENGINE=InnoDB;

-- ------------------------------------------------------------------------------------------------ jobs and pulls

-- Work that waits or runs. Done work leaves: history is in pull, delivery and the like, so that claims never wade through it.
CREATE TABLE job (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  kind                TINYINT UNSIGNED NOT NULL,              -- 1 pull
  subject             BINARY(16) NOT NULL,                    -- pull id …
  endpoint            BINARY(16) NULL,                        -- for fairness by source
  priority            TINYINT UNSIGNED NOT NULL DEFAULT 100,  -- smaller first among those due
  ready_at            DATETIME(3) NULL,                       -- NULL while leased: out of the claim index
  lease_owner         VARBINARY(64) NULL,
  lease_until         DATETIME(3) NULL,
  fence               BIGINT UNSIGNED NOT NULL DEFAULT 0,     -- counts claims: an old owner's writes fail
  tries               INT UNSIGNED NOT NULL DEFAULT 0,
  created_at          DATETIME(3) NOT NULL,
  UNIQUE KEY (kind, subject),
  KEY (ready_at, priority, id),
  KEY (lease_until)
) ENGINE=InnoDB;

CREATE TABLE pull (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  organization        BINARY(16) NOT NULL,
  patient             BINARY(16) NOT NULL,
  connection          BINARY(16) NOT NULL,
  endpoint            BINARY(16) NOT NULL,
  trigger_kind        TINYINT UNSIGNED NOT NULL,              -- 1 connected, 2 manual, 3 schedule
  status              TINYINT UNSIGNED NOT NULL,              -- 1 waiting, 2 running, 3 complete, 4 partial, 5 failed
  failure_code        VARBINARY(64) NULL,
  plan                MEDIUMBLOB NULL,                        -- JSON, no patient data
  receipt_sealed      MEDIUMBLOB NULL,
  key_version         INT UNSIGNED NOT NULL,
  requests            INT UNSIGNED NOT NULL DEFAULT 0,
  received            INT UNSIGNED NOT NULL DEFAULT 0,
  stored              INT UNSIGNED NOT NULL DEFAULT 0,
  unchanged           INT UNSIGNED NOT NULL DEFAULT 0,
  errors              INT UNSIGNED NOT NULL DEFAULT 0,
  created_at          DATETIME(3) NOT NULL,
  started_at          DATETIME(3) NULL,
  ended_at            DATETIME(3) NULL,
  KEY (patient, id),
  KEY (connection, id),
  KEY (organization, id),
  KEY (status, created_at)
) ENGINE=InnoDB;

-- One FHIR query, one reference to read, or one document: the unit that resumes.
CREATE TABLE pull_task (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  pull                BINARY(16) NOT NULL,
  kind                TINYINT UNSIGNED NOT NULL,              -- 1 read, 2 search, 3 reference, 4 document
  status              TINYINT UNSIGNED NOT NULL,              -- 1 waiting, 2 done, 3 failed, 4 skipped
  resource_type       VARBINARY(64) NOT NULL,
  ordinal             INT UNSIGNED NOT NULL,                  -- order of work
  target_hash         BINARY(32) NOT NULL,                    -- HMAC of what is asked: a task is made once a pull
  url_sealed          BLOB NOT NULL,                          -- first URL; holds the upstream patient id
  next_sealed         BLOB NULL,                              -- where to go on; NULL: at url
  key_version         INT UNSIGNED NOT NULL,
  failure_code        VARBINARY(64) NULL,
  http_status         SMALLINT UNSIGNED NULL,
  total               INT UNSIGNED NULL,                      -- Bundle.total as the server said
  pages               INT UNSIGNED NOT NULL DEFAULT 0,
  received            INT UNSIGNED NOT NULL DEFAULT 0,
  stored              INT UNSIGNED NOT NULL DEFAULT 0,
  unchanged           INT UNSIGNED NOT NULL DEFAULT 0,
  bytes               BIGINT UNSIGNED NOT NULL DEFAULT 0,
  tries               INT UNSIGNED NOT NULL DEFAULT 0,        -- of the current page
  ready_at            DATETIME(3) NOT NULL,
  updated_at          DATETIME(3) NOT NULL,
  UNIQUE KEY (pull, target_hash),
  KEY (pull, status, ordinal, id)
) ENGINE=InnoDB;

-- Pages seen in a search of this pull: a `next` that comes back is a loop.
CREATE TABLE pull_page (
  task                BINARY(16) NOT NULL,
  url_hash            BINARY(32) NOT NULL,
  PRIMARY KEY (task, url_hash)
) ENGINE=InnoDB;

-- ------------------------------------------------------------------------------------------------ records

-- The latest stored version of one FHIR resource, as the source sent it.
CREATE TABLE record (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  patient             BINARY(16) NOT NULL,
  endpoint            BINARY(16) NOT NULL,
  tenant_context      VARBINARY(255) NOT NULL DEFAULT '',
  source              BINARY(16) NULL,                        -- shown on the wire; of the connection that brought it first
  resource_type       VARBINARY(64) NOT NULL,
  upstream_id         VARBINARY(255) NOT NULL,
  change_seq          BIGINT UNSIGNED NOT NULL,               -- of this version; unique in the patient
  content_hash        BINARY(32) NOT NULL,                    -- HMAC under the patient's key, volatile meta left out
  body_sealed         LONGBLOB NOT NULL,                      -- zstd, then AES-256-GCM under the patient's key
  body_length         INT UNSIGNED NOT NULL,                  -- of the plain bytes
  dictionary          SMALLINT UNSIGNED NOT NULL,             -- version of the zstd dictionary; 0 none
  key_version         INT UNSIGNED NOT NULL,
  upstream_updated_at DATETIME(3) NULL,                       -- meta.lastUpdated
  created_at          DATETIME(3) NOT NULL,
  stored_at           DATETIME(3) NOT NULL,                   -- of this version: what `since` means
  vanished_at         DATETIME(3) NULL,
  UNIQUE KEY (patient, endpoint, tenant_context, resource_type, upstream_id),
  UNIQUE KEY (patient, change_seq),
  KEY (patient, resource_type, change_seq)
) ENGINE=InnoDB;

-- Which connections a record came through: disconnecting one keeps what another still holds.
CREATE TABLE record_connection (
  connection          BINARY(16) NOT NULL,
  record              BINARY(16) NOT NULL,
  first_pull          BINARY(16) NOT NULL,                    -- written once: an unchanged record costs no write
  PRIMARY KEY (connection, record),
  KEY (record)
) ENGINE=InnoDB;

-- Bytes of attachments, in chunks, so that memory never grows with their size.
CREATE TABLE document (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  patient             BINARY(16) NOT NULL,
  endpoint            BINARY(16) NOT NULL,
  tenant_context      VARBINARY(255) NOT NULL DEFAULT '',
  url_hash            BINARY(32) NOT NULL,                    -- HMAC under the patient's key
  content_hash        BINARY(32) NULL,                        -- HMAC of the whole content
  content_type        VARBINARY(255) NULL,
  length              BIGINT UNSIGNED NOT NULL DEFAULT 0,
  status              TINYINT UNSIGNED NOT NULL,              -- 1 arriving, 2 whole, 3 refused
  key_version         INT UNSIGNED NOT NULL,
  created_at          DATETIME(3) NOT NULL,
  updated_at          DATETIME(3) NOT NULL,
  UNIQUE KEY (patient, endpoint, tenant_context, url_hash)
) ENGINE=InnoDB;

CREATE TABLE document_chunk (
  document            BINARY(16) NOT NULL,
  ordinal             INT UNSIGNED NOT NULL,
  body_sealed         MEDIUMBLOB NOT NULL,
  PRIMARY KEY (document, ordinal)
) ENGINE=InnoDB;

-- ------------------------------------------------------------------------------------------------ events and audit

-- Facts that apps are told, inserted in the transaction that made them true, without a number; the sequencer numbers committed rows.
CREATE TABLE event (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  organization        BINARY(16) NOT NULL,
  patient             BINARY(16) NULL,
  kind                SMALLINT UNSIGNED NOT NULL,
  subject             BINARY(16) NULL,
  payload_sealed      MEDIUMBLOB NULL,                        -- under the patient's key
  key_version         INT UNSIGNED NOT NULL DEFAULT 0,
  sequence            BIGINT UNSIGNED NULL,
  created_at          DATETIME(3) NOT NULL,
  UNIQUE KEY (organization, sequence),
  KEY (sequence, id),
  KEY (patient, id)
) ENGINE=InnoDB;

CREATE TABLE event_counter (
  organization        BINARY(16) NOT NULL PRIMARY KEY,
  last_sequence       BIGINT UNSIGNED NOT NULL
) ENGINE=InnoDB;

-- One holder at a time of a named duty (sequencer, janitor): lease with fence.
CREATE TABLE duty (
  name                VARBINARY(32) NOT NULL PRIMARY KEY,
  lease_owner         VARBINARY(64) NULL,
  lease_until         DATETIME(3) NULL,
  fence               BIGINT UNSIGNED NOT NULL DEFAULT 0
) ENGINE=InnoDB;
INSERT INTO duty (name) VALUES ('sequencer'), ('janitor');

-- Who did what. Written in the transaction of the act; pure reads other than of records come in batches (doc/decisions.md).
CREATE TABLE audit (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  organization        BINARY(16) NULL,
  actor_kind          TINYINT UNSIGNED NOT NULL,              -- 1 api key, 2 operator, 3 patient's browser, 4 scheduler
  actor               VARBINARY(64) NOT NULL,                 -- key id, user name, session id, node
  action              VARBINARY(64) NOT NULL,                 -- "records.read", "org.create" …
  patient             BINARY(16) NULL,
  object              BINARY(16) NULL,
  detail              VARBINARY(255) NULL,                    -- counts and codes only
  request_id          VARBINARY(40) NULL,
  created_at          DATETIME(3) NOT NULL,
  KEY (organization, id),
  KEY (patient, id),
  KEY (created_at)
) ENGINE=InnoDB;
