-- How does the archive grow from day to day?
-- Row key: day_begin_tai_ns.  Days without a new dataset have no row.
-- Columns:
--   day_begin_tai_ns  integer   [ns]     0h TAI of the day of registration, since 1970
--   day_begin_tai     timestamp          The same as day_begin_tai_ns
--   n_datasets        integer            Datasets registered that day
--   n_files           integer            Files of these
--   size_bytes        integer   [byte]   Sum over these files
--   total_datasets    integer            Datasets of this and all days before
--   total_bytes       integer   [byte]   Bytes of this and all days before
WITH sized AS (
    SELECT dataset_id, COUNT(*) AS n_files, SUM(size_bytes) AS size_bytes
    FROM file
    GROUP BY dataset_id
), daily AS (
    SELECT d.ingest_date_tai_ns - d.ingest_date_tai_ns % 86400000000000 AS day_begin_tai_ns,
           COUNT(*) AS n_datasets,
           CAST(COALESCE(SUM(s.n_files), 0) AS BIGINT) AS n_files,
           CAST(COALESCE(SUM(s.size_bytes), 0) AS BIGINT) AS size_bytes
    FROM dataset AS d
    LEFT JOIN sized AS s ON s.dataset_id = d.id
    GROUP BY d.ingest_date_tai_ns - d.ingest_date_tai_ns % 86400000000000
)
SELECT day_begin_tai_ns,
       TAI_TIMESTAMP(day_begin_tai_ns) AS day_begin_tai,
       n_datasets,
       n_files,
       size_bytes,
       CAST(SUM(n_datasets) OVER (ORDER BY day_begin_tai_ns) AS BIGINT) AS total_datasets,
       CAST(SUM(size_bytes) OVER (ORDER BY day_begin_tai_ns) AS BIGINT) AS total_bytes
FROM daily
