-- Which datasets take most room: the hundred largest of all, and the ten largest of each type?
-- Row key: dataset_id.
-- Columns:
--   rank_overall  integer            1 for the largest of all
--   rank_in_type  integer            1 for the largest of its type
--   dataset_type  text               Type of dataset
--   run           text               RUN collection
--   dataset_id    uuid               The dataset
--   instrument    text               Camera
--   detector      integer            Detector
--   exposure      integer            Exposure
--   visit         integer            Visit
--   n_files       integer            Files of the dataset
--   size_bytes    integer   [byte]   Sum over its files, each counted once however many its copies
WITH sized AS (
    SELECT dataset_id, COUNT(*) AS n_files, CAST(SUM(size_bytes) AS BIGINT) AS size_bytes
    FROM file
    GROUP BY dataset_id
), ranked AS (
    SELECT d.id, d.run_id, d.dataset_type_id, d.data_id, s.n_files, s.size_bytes,
           ROW_NUMBER() OVER (ORDER BY s.size_bytes DESC, d.id) AS rank_overall,
           ROW_NUMBER() OVER (
               PARTITION BY d.dataset_type_id ORDER BY s.size_bytes DESC, d.id
           ) AS rank_in_type
    FROM sized AS s
    JOIN dataset AS d ON d.id = s.dataset_id
)
SELECT r.rank_overall,
       r.rank_in_type,
       t.name AS dataset_type,
       c.name AS run,
       r.id AS dataset_id,
       i.instrument,
       i.detector,
       i.exposure,
       i.visit,
       r.n_files,
       r.size_bytes
FROM ranked AS r
JOIN dataset_type AS t ON t.id = r.dataset_type_id
JOIN collection AS c ON c.id = r.run_id
JOIN data_id AS i ON i.id = r.data_id
WHERE r.rank_overall <= 100 OR r.rank_in_type <= 10
