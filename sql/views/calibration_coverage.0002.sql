-- Over which ranges does each calibration hold, and where are the gaps between them?
-- Row key: collection, dataset_type, data_id, valid_begin_tai_ns.  A gap is a row without a dataset.
-- Times: TAI ns since 1970, half open; without `_ns` the same as timestamps, TAI (NULL: without limit).
-- Columns:
--   collection          text              CALIBRATION collection
--   dataset_type        text              Type of calibration
--   data_id             integer           What it holds for; key of data_id
--   instrument          text              Camera
--   detector            integer           Detector
--   physical_filter     text              Filter, for calibrations that depend on it
--   coverage            text              valid, or gap between two ranges
--   valid_begin_tai_ns  integer   [ns]    Begin, TAI since 1970
--   valid_end_tai_ns    integer   [ns]    End (excluded), TAI since 1970
--   valid_begin_tai     timestamp         The same as valid_begin_tai_ns; NULL: without limit
--   valid_end_tai       timestamp         The same as valid_end_tai_ns; NULL: without limit
--   dataset_id          uuid              The calibration; NULL in a gap
--   run                 text              Its RUN collection
--   made_from_day_obs   integer           Night that it was made from, YYYYMMDD
WITH ordered AS (
    SELECT collection_id, dataset_type_id, data_id, dataset_id, valid_begin_tai_ns, valid_end_tai_ns,
           LEAD(valid_begin_tai_ns) OVER (
               PARTITION BY collection_id, dataset_type_id, data_id ORDER BY valid_begin_tai_ns
           ) AS next_begin_tai_ns
    FROM calibration
), spans AS (
    SELECT collection_id, dataset_type_id, data_id, dataset_id, valid_begin_tai_ns, valid_end_tai_ns
    FROM ordered
    UNION ALL
    SELECT collection_id, dataset_type_id, data_id, NULL, valid_end_tai_ns, next_begin_tai_ns
    FROM ordered
    WHERE next_begin_tai_ns > valid_end_tai_ns
)
SELECT c.name AS collection,
       t.name AS dataset_type,
       s.data_id,
       i.instrument,
       i.detector,
       i.physical_filter,
       CASE WHEN s.dataset_id IS NULL THEN 'gap' ELSE 'valid' END AS coverage,
       s.valid_begin_tai_ns,
       s.valid_end_tai_ns,
       TAI_TIMESTAMP(s.valid_begin_tai_ns) AS valid_begin_tai,
       TAI_TIMESTAMP(s.valid_end_tai_ns) AS valid_end_tai,
       s.dataset_id,
       r.name AS run,
       made.day_obs AS made_from_day_obs
FROM spans AS s
JOIN collection AS c ON c.id = s.collection_id
JOIN dataset_type AS t ON t.id = s.dataset_type_id
JOIN data_id AS i ON i.id = s.data_id
LEFT JOIN dataset AS d ON d.id = s.dataset_id
LEFT JOIN collection AS r ON r.id = d.run_id
LEFT JOIN data_id AS made ON made.id = d.data_id
