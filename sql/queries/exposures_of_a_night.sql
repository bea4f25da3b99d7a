-- What was taken in a night, in order?
-- Asked by: observers, during and after the night
-- Reads: by key
-- Parameters:
--   instrument  text     DemoCam   Camera
--   day_obs     integer  20250310  Night, YYYYMMDD of its evening
SELECT x.seq_num, x.id AS exposure, x.observation_type, x.physical_filter, x.exposure_time, x.target_name,
       x.airmass, x.quality
FROM exposure AS x
WHERE x.instrument = :instrument AND x.day_obs = :day_obs
ORDER BY x.begin_tai_ns
