-- Which calibration of a type holds for an exposure and detector, and since when?
-- Asked by: scientists who distrust a frame
-- Reads: by key
-- Parameters:
--   collection    text     demo/out/calib  CALIBRATION collection
--   dataset_type  text     flat            Type of calibration
--   instrument    text     DemoCam         Camera
--   exposure      integer  202503110014    Exposure
--   detector      integer  3               Detector
SELECT a.dataset_id, made.day_obs AS made_from_day_obs, k.physical_filter,
       (x.begin_tai_ns - a.valid_begin_tai_ns) / 1e9 AS valid_since_s
FROM exposure AS x
JOIN dataset_type AS t ON t.name = :dataset_type
JOIN collection AS c ON c.name = :collection
JOIN data_id AS k ON k.instrument = x.instrument AND k.detector = :detector
    AND (k.physical_filter IS NULL OR k.physical_filter = x.physical_filter)
    AND k.exposure IS NULL
JOIN calibration AS a ON a.dataset_type_id = t.id AND a.data_id = k.id AND a.collection_id = c.id
    AND a.valid_begin_tai_ns <= x.begin_tai_ns AND a.valid_end_tai_ns > x.begin_tai_ns
JOIN dataset AS d ON d.id = a.dataset_id
JOIN data_id AS made ON made.id = d.data_id
WHERE x.instrument = :instrument AND x.id = :exposure
ORDER BY a.valid_begin_tai_ns
