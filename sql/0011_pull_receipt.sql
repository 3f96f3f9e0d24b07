-- SPDX-License-Identifier: Apache-2.0
--
-- A receipt that is true, and progress that an app can read while a pull runs.

-- Every request that was sent for a task, those that were asked again at once included; and which of what was stored is new.
ALTER TABLE pull_task
  ADD COLUMN IF NOT EXISTS requests INT UNSIGNED NOT NULL DEFAULT 0 AFTER total,
  ADD COLUMN IF NOT EXISTS created INT UNSIGNED NOT NULL DEFAULT 0 AFTER received;

-- What pulls that run over this change have sent, as far as it was kept.
UPDATE pull_task AS t JOIN pull AS p ON p.id = t.pull SET t.requests = t.pages + t.tries WHERE p.status = 2 AND t.requests = 0;

-- The highest percentage that anybody was told, so that none sees it fall; and a place in time from which the page rate is reckoned.
ALTER TABLE pull
  ADD COLUMN IF NOT EXISTS progress_told TINYINT UNSIGNED NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS progress_pages INT UNSIGNED NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS progress_at DATETIME(3) NULL;

-- A patient's documents in the order in which they came.
ALTER TABLE document ADD INDEX IF NOT EXISTS patient_id (patient, id);
