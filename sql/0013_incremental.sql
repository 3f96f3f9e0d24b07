-- SPDX-License-Identifier: Apache-2.0
--
-- Incremental pulls: which searches can be filtered by _lastUpdated, from when on, and what a full pull no longer sees.

-- Tested once with the software that the endpoint had: 1 the filter is real, 2 it is ignored, 3 it is refused.
CREATE TABLE IF NOT EXISTS endpoint_search_memory (
  endpoint            BINARY(16) NOT NULL,
  resource_type       VARBINARY(64) NOT NULL,
  last_updated        TINYINT UNSIGNED NOT NULL,
  software            VARBINARY(512) NOT NULL DEFAULT '',
  tested_at           DATETIME(3) NOT NULL,
  PRIMARY KEY (endpoint, resource_type)
) ENGINE=InnoDB;

-- Everything that the source changed before `since` is here, by the source's own clock. Without a row the type is asked for whole. `newest` is the
-- greatest lastUpdated seen, so that a pull need look at its own changes alone.
CREATE TABLE IF NOT EXISTS pull_watermark (
  connection          BINARY(16) NOT NULL,
  resource_type       VARBINARY(64) NOT NULL,
  since               DATETIME(3) NOT NULL,
  newest              DATETIME(3) NULL,
  PRIMARY KEY (connection, resource_type)
) ENGINE=InnoDB;

-- The records of each page of a full pull that runs: ids one after the other, a row a page, so that an unchanged record costs none of its own.
CREATE TABLE IF NOT EXISTS pull_seen (
  pull                BINARY(16) NOT NULL,
  id                  BINARY(16) NOT NULL,
  records             MEDIUMBLOB NOT NULL,
  PRIMARY KEY (pull, id)
) ENGINE=InnoDB;

-- Records that it did not see, each with the task that asks for it.
CREATE TABLE IF NOT EXISTS pull_candidate (
  pull                BINARY(16) NOT NULL,
  task                BINARY(16) NOT NULL,
  record              BINARY(16) NOT NULL,
  PRIMARY KEY (pull, task)
) ENGINE=InnoDB;

-- seq_before is the patient's change_seq when the pull began; created and vanished are of records; vanish_suspected counts the types of which too many were missing to be believed.
ALTER TABLE pull
  ADD COLUMN IF NOT EXISTS seq_before BIGINT UNSIGNED NULL,
  ADD COLUMN IF NOT EXISTS vanish_asked BOOLEAN NOT NULL DEFAULT FALSE,
  ADD COLUMN IF NOT EXISTS created INT UNSIGNED NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS vanished INT UNSIGNED NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS vanish_suspected INT UNSIGNED NOT NULL DEFAULT 0;
