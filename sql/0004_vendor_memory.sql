-- SPDX-License-Identifier: Apache-2.0
--
-- What is remembered of an endpoint: how long its discovery is good, what it runs on, and which request worked there.

-- The operator's choice of vendor profile.
ALTER TABLE source ADD COLUMN IF NOT EXISTS profile VARBINARY(64) NULL;

ALTER TABLE endpoint
  ADD COLUMN IF NOT EXISTS discovery_etag VARBINARY(255) NULL,
  ADD COLUMN IF NOT EXISTS discovery_until DATETIME(3) NULL,       -- as long as its Cache-Control says, within our bounds
  ADD COLUMN IF NOT EXISTS discovery_failed_at DATETIME(3) NULL,   -- the last time that it could not be had; NULL after a good one
  ADD COLUMN IF NOT EXISTS capability_failed_at DATETIME(3) NULL,
  -- "name version" of the CapabilityStatement
  ADD COLUMN IF NOT EXISTS software VARBINARY(512) NULL;

-- Which authorization request an endpoint takes from a client of ours. Steps only grow until one has worked; forgotten when the software
-- changes or the operator says so.
CREATE TABLE IF NOT EXISTS endpoint_lesson (
  endpoint            BINARY(16) NOT NULL,
  registration        BINARY(16) NOT NULL,
  scope_step          TINYINT UNSIGNED NOT NULL,              -- 0 as usual, 1 to 4 the ladder after invalid_scope, 5 none of them
  aud_step            TINYINT UNSIGNED NOT NULL,              -- 0 as usual, 1 the slash toggled, 2 neither
  worked_at           DATETIME(3) NULL,                       -- an authorization succeeded with these steps
  software            VARBINARY(512) NULL,                    -- of the endpoint, when it was learnt
  learnt_at           DATETIME(3) NOT NULL,
  PRIMARY KEY (endpoint, registration)
) ENGINE=InnoDB;
