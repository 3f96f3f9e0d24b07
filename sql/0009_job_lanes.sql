-- SPDX-License-Identifier: Apache-2.0
--
-- Two lanes of jobs: what somebody waits for, and what is due by the clock. Each is claimed by a range scan of its own, so that who has just connected
-- never stands behind a night's backlog.

UPDATE job SET priority = 200 WHERE priority NOT IN (50, 200);

ALTER TABLE job
  MODIFY priority TINYINT UNSIGNED NOT NULL DEFAULT 200,
  ADD INDEX IF NOT EXISTS lane (kind, priority, ready_at, id),
  DROP INDEX IF EXISTS kind_ready;
