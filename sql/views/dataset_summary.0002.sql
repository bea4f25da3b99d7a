-- How many datasets of each type does each run hold, how many of them are stored, and how large are they?
-- Row key: run, dataset_type.  size_bytes: sum over files [byte]; first and last ingest: TAI ns since 1970,
-- and without `_ns` the same as timestamps, TAI.
-- Columns:
--   run                  text              RUN collection
--   dataset_type         text              Type of dataset
--   n_datasets           integer           Datasets
--   n_stored             integer           Datasets with an available copy
--   size_bytes           integer   [byte]  Sum over their files, each counted once
--   first_ingest_tai_ns  integer   [ns]    When the first was registered, TAI since 1970
--   last_ingest_tai_ns   integer   [ns]    When the last was registered, TAI since 1970
--   first_ingest_tai     timestamp         The same as first_ingest_tai_ns
--   last_ingest_tai      timestamp         The same as last_ingest_tai_ns
SELECT c.name AS run,
       t.name AS dataset_type,
       COUNT(*) AS n_datasets,
       SUM(CASE WHEN f.size_bytes IS NULL THEN 0 ELSE 1 END) AS n_stored,
       COALESCE(SUM(f.size_bytes), 0) AS size_bytes,
       MIN(d.ingest_date_tai_ns) AS first_ingest_tai_ns,
       MAX(d.ingest_date_tai_ns) AS last_ingest_tai_ns,
       TAI_TIMESTAMP(MIN(d.ingest_date_tai_ns)) AS first_ingest_tai,
       TAI_TIMESTAMP(MAX(d.ingest_date_tai_ns)) AS last_ingest_tai
FROM dataset AS d
JOIN dataset_type AS t ON t.id = d.dataset_type_id
JOIN collection AS c ON c.id = d.run_id
LEFT JOIN (
    SELECT dataset_id, SUM(size_bytes) AS size_bytes
    FROM file
    WHERE id IN (SELECT file_id FROM replica WHERE state = 'available')
    GROUP BY dataset_id
) AS f ON f.dataset_id = d.id
GROUP BY c.name, t.name
