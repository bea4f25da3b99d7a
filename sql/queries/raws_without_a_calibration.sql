-- Which raw science frames have no valid calibration of a type?
-- Asked by: pipeline scientists, before a run or when a calibration is withdrawn
-- Reads: whole tables
-- Parameters:
--   dataset_type  text  flat  Type of calibration
SELECT DISTINCT e.instrument, e.id AS exposure, i.detector, e.physical_filter, e.day_obs, e.quality
FROM exposure AS e
JOIN data_id AS i ON i.instrument = e.instrument AND i.exposure = e.id
JOIN dataset AS d ON d.data_id = i.id
JOIN dataset_type AS t ON t.id = d.dataset_type_id AND t.name = 'raw'
WHERE e.observation_type = 'science'
  AND NOT EXISTS (
      SELECT 1
      FROM calibration AS c
      JOIN dataset_type AS ct ON ct.id = c.dataset_type_id
      JOIN data_id AS k ON k.id = c.data_id
      WHERE ct.name = :dataset_type
        AND k.instrument = e.instrument
        AND (k.detector IS NULL OR k.detector = i.detector)
        AND (k.physical_filter IS NULL OR k.physical_filter = e.physical_filter)
        AND c.valid_begin_tai_ns <= e.begin_tai_ns
        AND c.valid_end_tai_ns > e.begin_tai_ns
  )
ORDER BY e.instrument, e.id, i.detector
