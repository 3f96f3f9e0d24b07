-- SPDX-License-Identifier: Apache-2.0
--
-- Refreshing without a pull: when a grant is due, how its server behaves, when nobody asks before, and when it ends. The breaker
-- of a registration stands in the database, so that one rejected client stops all nodes.

ALTER TABLE token_grant
  ADD COLUMN IF NOT EXISTS rotates BOOLEAN NULL,                             -- each refresh brings a new refresh token; NULL: not seen yet
  ADD COLUMN IF NOT EXISTS answer_fence BIGINT UNSIGNED NULL,                -- whose answer these tokens are; NULL: a sign-in's
  ADD COLUMN IF NOT EXISTS refused_at DATETIME(3) NULL,                      -- the first invalid_grant, of two
  ADD COLUMN IF NOT EXISTS failures INT UNSIGNED NOT NULL DEFAULT 0,         -- in a row
  ADD COLUMN IF NOT EXISTS failing_since DATETIME(3) NULL,
  ADD COLUMN IF NOT EXISTS not_before DATETIME(3) NULL,                      -- nobody asks before
  ADD COLUMN IF NOT EXISTS refresh_due_at DATETIME(3) NULL,                  -- NULL: nothing to refresh with
  ADD COLUMN IF NOT EXISTS ends_at DATETIME(3) NULL,                         -- the known end of the grant
  ADD COLUMN IF NOT EXISTS ends_fixed BOOLEAN NOT NULL DEFAULT FALSE,        -- a refresh does not move it
  ADD COLUMN IF NOT EXISTS warn_at DATETIME(3) NULL,                         -- the end's next threshold
  ADD COLUMN IF NOT EXISTS warned_days TINYINT UNSIGNED NULL,                -- the last threshold that was told or let pass
  ADD INDEX IF NOT EXISTS refresh_due (refresh_due_at),
  ADD INDEX IF NOT EXISTS warn (warn_at),
  ADD INDEX IF NOT EXISTS lease (lease_until);

-- Grants from before: due in 24 to 30 days from their last refresh, each at a time of its own.
UPDATE token_grant SET
  refresh_due_at = IF(refresh_sealed IS NULL, NULL,
                      obtained_at + INTERVAL 24 DAY + INTERVAL CONV(HEX(RIGHT(connection, 4)), 16, 10) MOD 518400 SECOND),
  ends_at = IF(refresh_sealed IS NULL, expires_at, NULL),
  warn_at = IF(refresh_sealed IS NULL, expires_at, NULL),
  warned_days = IF(refresh_sealed IS NULL, 0, NULL)
  WHERE refresh_due_at IS NULL;

-- A failure that the app was told of: what works again after it is told too.
ALTER TABLE connection ADD COLUMN IF NOT EXISTS trouble_told_at DATETIME(3) NULL;
UPDATE connection SET trouble_told_at = failure_at WHERE status = 4 AND trouble_told_at IS NULL;

-- A registration whose client was rejected. No row: it is in use.
CREATE TABLE IF NOT EXISTS registration_breaker (
  registration        BINARY(16) NOT NULL PRIMARY KEY,
  opened_at           DATETIME(3) NOT NULL,
  probe_at            DATETIME(3) NOT NULL,                   -- one refresh may ask again then
  rejections          INT UNSIGNED NOT NULL                   -- in a row
) ENGINE=InnoDB;
