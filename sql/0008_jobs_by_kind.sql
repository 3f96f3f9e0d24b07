-- SPDX-License-Identifier: Apache-2.0
--
-- Jobs of several kinds: each kind's worker claims its own, and never wades through the others'.

ALTER TABLE job
  ADD INDEX IF NOT EXISTS kind_ready (kind, ready_at, priority, id),
  DROP INDEX IF EXISTS ready_at;
