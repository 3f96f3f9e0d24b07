-- SPDX-License-Identifier: Apache-2.0
--
-- What a pull met and did not take, and what its tasks must know to end in time.

-- Entries, references and documents that were seen and left: counted in the page's transaction, told in the receipt. No ids, nothing clinical.
CREATE TABLE IF NOT EXISTS pull_skip (
  pull                BINARY(16) NOT NULL,
  resource_type       VARBINARY(64) NOT NULL,
  reason              VARBINARY(32) NOT NULL,                 -- bad_id, too_big, wrong_patient, over_limit …
  count               INT UNSIGNED NOT NULL,                  -- times met: a page that is read again counts again
  PRIMARY KEY (pull, resource_type, reason)
) ENGINE=InnoDB;

ALTER TABLE pull_task
  ADD COLUMN IF NOT EXISTS target_id VARBINARY(255) NULL,     -- of a reference: the id of what it names, which a search may bring
  ADD COLUMN IF NOT EXISTS accept VARBINARY(127) NULL,        -- of a document: the type that its attachment tells
  ADD COLUMN IF NOT EXISTS expect_hash BINARY(32) NULL,       -- HMAC of the SHA-1 that it tells: a plain hash would tell the content
  ADD COLUMN IF NOT EXISTS expect_size BIGINT UNSIGNED NULL,
  ADD COLUMN IF NOT EXISTS restarts TINYINT UNSIGNED NOT NULL DEFAULT 0, -- from the first page, since the paging session had expired
  ADD COLUMN IF NOT EXISTS empty_pages TINYINT UNSIGNED NOT NULL DEFAULT 0, -- in a row
  -- in a row, each with the ids of a page before
  ADD COLUMN IF NOT EXISTS known_pages TINYINT UNSIGNED NOT NULL DEFAULT 0;

-- When a record that a reference named was last read: an unchanged one is not written, and not asked for again at once.
ALTER TABLE record_connection ADD COLUMN IF NOT EXISTS checked_at DATETIME(3) NULL;

-- Searches that a server refused as planned, and what it took instead. Queries without the patient; of one version of its software.
CREATE TABLE IF NOT EXISTS endpoint_search (
  endpoint            BINARY(16) NOT NULL,
  resource_type       VARBINARY(64) NOT NULL,
  planned_hash        BINARY(32) NOT NULL,                    -- SHA-256 of "parameter?query"
  worked              VARBINARY(2048) NOT NULL,
  software            VARBINARY(255) NOT NULL,
  learnt_at           DATETIME(3) NOT NULL,
  PRIMARY KEY (endpoint, resource_type, planned_hash)
) ENGINE=InnoDB;

-- Ids that the patient of a connection had before the source merged them into another: what was written under an old one names it still.
CREATE TABLE IF NOT EXISTS connection_patient (
  connection          BINARY(16) NOT NULL,
  upstream_hash       BINARY(32) NOT NULL,                    -- HMAC under the patient's key, as in connection
  PRIMARY KEY (connection, upstream_hash)
) ENGINE=InnoDB;
