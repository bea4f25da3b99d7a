-- How many replicas does each endpoint hold in each state, how large are they, and since when?
-- Row key: site, endpoint, state.  size_bytes: sum [byte]; oldest_since: UTC.
-- Columns:
--   site                text              Place
--   endpoint            text              Storage there
--   endpoint_state      text              online or offline
--   state               text              State of the copies: available, deleting, lost or corrupt
--   n_replicas          integer           Copies
--   size_bytes          integer   [byte]  Sum over their files
--   n_without_checksum  integer           Copies of files whose checksum nobody computed
--   oldest_since        utc               When the first of them came into this state, UTC
SELECT s.name AS site,
       e.name AS endpoint,
       e.state AS endpoint_state,
       r.state,
       COUNT(*) AS n_replicas,
       SUM(f.size_bytes) AS size_bytes,
       SUM(CASE WHEN f.checksum IS NULL THEN 1 ELSE 0 END) AS n_without_checksum,
       MIN(r.since) AS oldest_since
FROM replica AS r
JOIN file AS f ON f.id = r.file_id
JOIN endpoint AS e ON e.id = r.endpoint_id
JOIN site AS s ON s.id = e.site_id
GROUP BY s.name, e.name, e.state, r.state
