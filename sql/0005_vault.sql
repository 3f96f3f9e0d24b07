-- SPDX-License-Identifier: Apache-2.0
--
-- The vault: rotation of master keys, deletion that is final, and tokens on their way back to who gave them.

-- Which keys hang on a master key, oldest first: status and rotation.
ALTER TABLE data_key ADD INDEX IF NOT EXISTS master (master_key_id, created_at);
ALTER TABLE patient_key ADD INDEX IF NOT EXISTS master (master_key_id, created_at);

-- Purpose keys that outlive the master key they were derived from, wrapped like data keys. owner: the purpose's name, filled up
-- with NULs to 8 bytes, then its kid (zeros for the search key, of which there is one).
CREATE TABLE purpose_key (
  owner               BINARY(16) NOT NULL,
  version             INT UNSIGNED NOT NULL,
  wrapped             BINARY(61) NOT NULL,
  master_key_id       VARBINARY(32) NOT NULL,
  created_at          DATETIME(3) NOT NULL,
  PRIMARY KEY (owner, version),
  KEY master (master_key_id, created_at)
) ENGINE=InnoDB;

-- A deletion's progress. patient_id_hash: HMAC(search key, organization + the app's id), so that a repeated call gets the same
-- answer; it goes when the deletion is final.
ALTER TABLE tombstone
  ADD COLUMN IF NOT EXISTS patient_id_hash BINARY(32) NULL,
  ADD COLUMN IF NOT EXISTS journaled_at DATETIME(3) NULL,       -- NULL: not yet in the journal outside the database
  ADD COLUMN IF NOT EXISTS purged_at DATETIME(3) NULL,          -- NULL: the janitor still removes rows
  ADD INDEX IF NOT EXISTS repeated (organization, patient_id_hash),
  ADD INDEX IF NOT EXISTS journaled (journaled_at, deleted_at),
  ADD INDEX IF NOT EXISTS purged (purged_at, deleted_at),
  ADD INDEX IF NOT EXISTS final (final_at);

-- Disconnected connections whose records the janitor still has to remove.
CREATE TABLE disconnection (
  connection          BINARY(16) NOT NULL PRIMARY KEY,
  patient             BINARY(16) NOT NULL,
  created_at          DATETIME(3) NOT NULL,
  KEY (patient)
) ENGINE=InnoDB;

-- Tokens that nobody uses any more, on their way back (RFC 7009). Under the organization's key: the patient's may be gone.
CREATE TABLE revocation (
  id                  BINARY(16) NOT NULL PRIMARY KEY,
  organization        BINARY(16) NOT NULL,
  registration        BINARY(16) NOT NULL,
  connection          BINARY(16) NOT NULL,                    -- whose tokens they were
  source              BINARY(16) NOT NULL,
  status              TINYINT UNSIGNED NOT NULL,              -- 1 waiting, 2 done, 3 not offered, 4 given up
  failure_code        VARBINARY(64) NULL,                     -- of the last try
  pinned              MEDIUMBLOB NOT NULL,                    -- of the connection: where they go
  refresh_sealed      MEDIUMBLOB NULL,                        -- NULL: none, or answered
  access_sealed       MEDIUMBLOB NULL,
  key_version         INT UNSIGNED NOT NULL,
  access_until        DATETIME(3) NULL,                       -- after that the access token is dead anyway
  give_up_at          DATETIME(3) NOT NULL,
  created_at          DATETIME(3) NOT NULL,
  ended_at            DATETIME(3) NULL,
  KEY (status, created_at),
  KEY (connection),
  KEY (organization, created_at)
) ENGINE=InnoDB;
