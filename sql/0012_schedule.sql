-- SPDX-License-Identifier: Apache-2.0
--
-- When a connection is pulled again: the policy, and how each connection stands.

-- How often the records of an organization's patients are fetched anew. The zero source is the policy of all its sources without a
-- row of their own; without any row the defaults below hold.
CREATE TABLE IF NOT EXISTS pull_policy (
  organization        BINARY(16) NOT NULL,
  source              BINARY(16) NOT NULL DEFAULT x'00000000000000000000000000000000',
  incremental_s       INT UNSIGNED NOT NULL DEFAULT 86400,
  full_s              INT UNSIGNED NOT NULL DEFAULT 604800,
  window_from         TINYINT UNSIGNED NOT NULL DEFAULT 20,   -- hours of the hospital's clock; the same twice: all day
  window_to           TINYINT UNSIGNED NOT NULL DEFAULT 6,
  enabled             BOOLEAN NOT NULL DEFAULT TRUE,
  updated_at          DATETIME(3) NOT NULL,
  PRIMARY KEY (organization, source)
) ENGINE=InnoDB;

-- full_pulled_at is the end of the last full pull that brought something.
-- next_pull_at NULL: nobody has planned it yet, the janitor does. Far in the future: nothing is planned, for the reason in pull_hold.
ALTER TABLE connection
  ADD COLUMN IF NOT EXISTS pull_hold VARBINARY(64) NULL,
  ADD COLUMN IF NOT EXISTS pull_failures SMALLINT UNSIGNED NOT NULL DEFAULT 0, -- in a row
  ADD COLUMN IF NOT EXISTS full_pulled_at DATETIME(3) NULL;

-- 1 full, 2 incremental
ALTER TABLE pull ADD COLUMN IF NOT EXISTS mode TINYINT UNSIGNED NOT NULL DEFAULT 1;
