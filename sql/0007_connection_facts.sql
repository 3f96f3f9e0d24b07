-- SPDX-License-Identifier: Apache-2.0
--
-- What an app can know of a connection beside its scopes, and clients that were registered for one connection alone.

-- Types that were asked for and not granted, blank separated; NULL: none.
ALTER TABLE connection ADD COLUMN IF NOT EXISTS missing_types VARBINARY(1024) NULL;

-- Dynamic registration (Epic): a client id and a key of its own for each connection, in place of a refresh token. AAD binds the
-- key to the connection.
CREATE TABLE IF NOT EXISTS dynamic_client (
  connection          BINARY(16) NOT NULL PRIMARY KEY,
  patient             BINARY(16) NOT NULL,
  client_id           VARBINARY(512) NOT NULL,
  alg                 VARBINARY(8) NOT NULL,                  -- RS384
  private_sealed      VARBINARY(4096) NOT NULL,               -- PKCS#8 under the patient's key
  key_version         INT UNSIGNED NOT NULL,
  created_at          DATETIME(3) NOT NULL,
  KEY (patient)
) ENGINE=InnoDB;
