-- Which raw data came after the night in which they were taken, or never?
-- Row key: instrument, exposure, dataset_id.
-- Late: a dataset that no task made, registered after the noon that ends its night.  Missing: an exposure without any dataset.
-- Columns:
--   kind                text               late or missing
--   instrument          text               Camera
--   day_obs             integer            Night, YYYYMMDD of its evening
--   exposure            integer            Exposure
--   observation_type    text               bias, dark, flat, arc, science, ...
--   detector            integer            Detector; NULL when all is missing
--   dataset_type        text               Type of dataset
--   run                 text               RUN collection
--   dataset_id          uuid               The dataset
--   exposure_end_tai    timestamp          End of the exposure, TAI
--   ingest_date_tai     timestamp          When the dataset was registered, TAI
--   delay_s             double    [s]      From the end of the night to the registration
SELECT 'late' AS kind,
       x.instrument,
       x.day_obs,
       x.id AS exposure,
       x.observation_type,
       i.detector,
       t.name AS dataset_type,
       c.name AS run,
       d.id AS dataset_id,
       TAI_TIMESTAMP(x.end_tai_ns) AS exposure_end_tai,
       TAI_TIMESTAMP(d.ingest_date_tai_ns) AS ingest_date_tai,
       CAST(d.ingest_date_tai_ns - n.end_tai_ns AS DOUBLE PRECISION) / 1000000000 AS delay_s
FROM exposure AS x
JOIN day_obs AS n ON n.instrument = x.instrument AND n.id = x.day_obs
JOIN data_id AS i ON i.instrument = x.instrument AND i.exposure = x.id
JOIN dataset AS d ON d.data_id = i.id AND d.ingest_date_tai_ns >= n.end_tai_ns
JOIN dataset_type AS t ON t.id = d.dataset_type_id
JOIN collection AS c ON c.id = d.run_id
WHERE NOT EXISTS (SELECT 1 FROM quantum_output AS o WHERE o.dataset_id = d.id)
UNION ALL
SELECT 'missing', x.instrument, x.day_obs, x.id, x.observation_type, NULL, NULL, NULL, NULL,
       TAI_TIMESTAMP(x.end_tai_ns), NULL, NULL
FROM exposure AS x
WHERE NOT EXISTS (
    SELECT 1
    FROM data_id AS i
    JOIN dataset AS d ON d.data_id = i.id
    WHERE i.instrument = x.instrument AND i.exposure = x.id
)
