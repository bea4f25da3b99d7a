-- What came in of each night: how many datasets of which type in which run, and when?
-- Row key: instrument, day_obs, dataset_type, run.
-- The night is that of the exposure or visit; datasets without a night (skymaps, coadds) are left out.
-- Columns:
--   instrument           text               Camera
--   day_obs              integer            Night, YYYYMMDD of its evening
--   dataset_type         text               Type of dataset
--   run                  text               RUN collection
--   n_exposures          integer            Distinct exposures among the datasets
--   n_datasets           integer            Datasets
--   n_stored             integer            Datasets with an available copy
--   size_bytes           integer   [byte]   Sum over their files
--   first_ingest_tai_ns  integer   [ns]     When the first was registered, TAI since 1970
--   last_ingest_tai_ns   integer   [ns]     When the last was registered, TAI since 1970
--   first_ingest_tai     timestamp          The same as first_ingest_tai_ns
--   last_ingest_tai      timestamp          The same as last_ingest_tai_ns
SELECT i.instrument,
       COALESCE(i.day_obs, x.day_obs, v.day_obs) AS day_obs,
       t.name AS dataset_type,
       c.name AS run,
       COUNT(DISTINCT i.exposure) AS n_exposures,
       COUNT(*) AS n_datasets,
       COUNT(f.size_bytes) AS n_stored,
       CAST(COALESCE(SUM(f.size_bytes), 0) AS BIGINT) AS size_bytes,
       MIN(d.ingest_date_tai_ns) AS first_ingest_tai_ns,
       MAX(d.ingest_date_tai_ns) AS last_ingest_tai_ns,
       TAI_TIMESTAMP(MIN(d.ingest_date_tai_ns)) AS first_ingest_tai,
       TAI_TIMESTAMP(MAX(d.ingest_date_tai_ns)) AS last_ingest_tai
FROM dataset AS d
JOIN data_id AS i ON i.id = d.data_id
JOIN dataset_type AS t ON t.id = d.dataset_type_id
JOIN collection AS c ON c.id = d.run_id
LEFT JOIN exposure AS x ON x.instrument = i.instrument AND x.id = i.exposure
LEFT JOIN visit AS v ON v.instrument = i.instrument AND v.id = i.visit
LEFT JOIN (
    SELECT dataset_id, SUM(size_bytes) AS size_bytes
    FROM file
    WHERE id IN (SELECT file_id FROM replica WHERE state = 'available')
    GROUP BY dataset_id
) AS f ON f.dataset_id = d.id
WHERE COALESCE(i.day_obs, x.day_obs, v.day_obs) IS NOT NULL
GROUP BY i.instrument, COALESCE(i.day_obs, x.day_obs, v.day_obs), t.name, c.name
