-- SPDX-License-Identifier: Apache-2.0
--
-- GET /connections?type=… reads one vendor's sources in id order.

ALTER TABLE source ADD INDEX IF NOT EXISTS environment_vendor (environment, vendor, id);
