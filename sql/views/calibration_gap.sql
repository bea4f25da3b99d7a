-- When does no calibration hold for a detector, and how many science exposures fall into that time?
-- Row key: collection, dataset_type, data_id, gap_begin_tai_ns.
-- Gaps between two ranges always; times before the first and after the last range only when exposures fall into them.
-- An exposure falls into a gap by its begin; one in another filter than the calibration's does not count.
-- Columns:
--   collection           text               CALIBRATION collection
--   dataset_type         text               Type of calibration
--   data_id              integer            What the calibrations hold for; key of data_id
--   instrument           text               Camera
--   detector             integer            Detector
--   physical_filter      text               Filter, for calibrations that depend on it
--   place                text               before, between or after the ranges that are certified
--   gap_begin_tai_ns     integer   [ns]     Begin of the gap, TAI since 1970
--   gap_end_tai_ns       integer   [ns]     End of the gap (excluded), TAI since 1970
--   gap_begin_tai        timestamp          The same as gap_begin_tai_ns; NULL: without limit
--   gap_end_tai          timestamp          The same as gap_end_tai_ns; NULL: without limit
--   n_science_exposures  integer            Science exposures that begin in the gap
WITH certified AS (
    SELECT collection_id, dataset_type_id, data_id, valid_begin_tai_ns, valid_end_tai_ns,
           LAG(valid_end_tai_ns) OVER (
               PARTITION BY collection_id, dataset_type_id, data_id ORDER BY valid_begin_tai_ns
           ) AS previous_end_tai_ns,
           LEAD(valid_begin_tai_ns) OVER (
               PARTITION BY collection_id, dataset_type_id, data_id ORDER BY valid_begin_tai_ns
           ) AS next_begin_tai_ns
    FROM calibration
), gaps AS (
    SELECT collection_id, dataset_type_id, data_id, 'between' AS place,
           valid_end_tai_ns AS gap_begin_tai_ns, next_begin_tai_ns AS gap_end_tai_ns
    FROM certified
    WHERE next_begin_tai_ns > valid_end_tai_ns
    UNION ALL
    SELECT collection_id, dataset_type_id, data_id, 'before', -9223372036854775000, valid_begin_tai_ns
    FROM certified
    WHERE previous_end_tai_ns IS NULL AND valid_begin_tai_ns > -9223372036854775000
    UNION ALL
    SELECT collection_id, dataset_type_id, data_id, 'after', valid_end_tai_ns, 9223372036854775000
    FROM certified
    WHERE next_begin_tai_ns IS NULL AND valid_end_tai_ns < 9223372036854775000
), counted AS (
    SELECT g.*, i.instrument, i.detector, i.physical_filter,
           (SELECT COUNT(*)
            FROM exposure AS x
            WHERE x.instrument = i.instrument
              AND x.begin_tai_ns >= g.gap_begin_tai_ns
              AND x.begin_tai_ns < g.gap_end_tai_ns
              AND x.observation_type = 'science'
              AND (i.physical_filter IS NULL OR x.physical_filter = i.physical_filter)
           ) AS n_science_exposures
    FROM gaps AS g
    JOIN data_id AS i ON i.id = g.data_id
)
SELECT c.name AS collection,
       t.name AS dataset_type,
       g.data_id,
       g.instrument,
       g.detector,
       g.physical_filter,
       g.place,
       g.gap_begin_tai_ns,
       g.gap_end_tai_ns,
       TAI_TIMESTAMP(g.gap_begin_tai_ns) AS gap_begin_tai,
       TAI_TIMESTAMP(g.gap_end_tai_ns) AS gap_end_tai,
       g.n_science_exposures
FROM counted AS g
JOIN collection AS c ON c.id = g.collection_id
JOIN dataset_type AS t ON t.id = g.dataset_type_id
WHERE g.place = 'between' OR g.n_science_exposures > 0
