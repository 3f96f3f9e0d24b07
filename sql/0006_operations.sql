-- SPDX-License-Identifier: Apache-2.0
--
-- What an operator needs when something fails: the redacted exchange behind it, what the daily probes found, and signing
-- keys that can be rotated and whose private halves can be destroyed.

-- The exchange with a source behind a failed attempt or refresh; the newest of each.
CREATE TABLE exchange (
  object              BINARY(16) NOT NULL PRIMARY KEY,        -- the attempt or the connection
  kind                TINYINT UNSIGNED NOT NULL,              -- 1 attempt, 2 connection
  organization        BINARY(16) NOT NULL,
  patient             BINARY(16) NOT NULL,
  recorded_at         DATETIME(3) NOT NULL,
  key_version         INT UNSIGNED NOT NULL,
  sealed              VARBINARY(8192) NOT NULL,               -- JSON without secrets, under the patient's key all the same
  KEY (patient)
) ENGINE=InnoDB;

-- chartwayctl attempt list, newest first (an id begins with its time).
ALTER TABLE attempt
  ADD INDEX IF NOT EXISTS organization_newest (organization, id),
  ADD INDEX IF NOT EXISTS source_newest (source, id);

-- A retired key keeps its row for the record, not its private half.
ALTER TABLE signing_key MODIFY private_sealed VARBINARY(4096) NULL;

-- One row for each check of each subject: how it stands now, since when, and when it was looked at last.
CREATE TABLE probe (
  subject             BINARY(16) NOT NULL,                    -- registration, endpoint; zero: the installation
  name                VARBINARY(32) NOT NULL,                 -- "auth_method", "certificate" …
  kind                TINYINT UNSIGNED NOT NULL,              -- 1 registration, 2 endpoint, 3 installation
  result              TINYINT UNSIGNED NOT NULL,              -- 1 ok, 2 note, 3 warn, 4 fail
  cause               VARBINARY(64) NOT NULL,                 -- a name of ours; '' where it is ok
  detail              VARBINARY(512) NOT NULL,                -- our own words, hosts and times; nothing of a patient
  since               DATETIME(3) NOT NULL,
  checked_at          DATETIME(3) NOT NULL,
  PRIMARY KEY (subject, name),
  KEY (result, checked_at)
) ENGINE=InnoDB;

-- Whose turn is when. A subject's own minute of the day comes from its id, so that the day is filled evenly.
CREATE TABLE probe_turn (
  subject             BINARY(16) NOT NULL PRIMARY KEY,
  kind                TINYINT UNSIGNED NOT NULL,
  due_at              DATETIME(3) NOT NULL,
  KEY (due_at)
) ENGINE=InnoDB;

INSERT INTO duty (name) VALUES ('probe'), ('signing-keys');
