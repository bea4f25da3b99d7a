-- Which exposures were under way between two instants?
-- Asked by: those who follow up an event
-- Reads: by key
-- Parameters:
--   instrument  text     DemoCam              Camera
--   begin_ns    integer  1741665200000000000  TAI ns since 1970
--   end_ns      integer  1741665700000000000  TAI ns since 1970
SELECT x.id AS exposure, x.observation_type, x.physical_filter,
       (x.begin_tai_ns - :begin_ns) / 1e9 AS after_begin_s, x.exposure_time
FROM exposure AS x
WHERE x.instrument = :instrument
  AND x.begin_tai_ns < :end_ns
  AND x.end_tai_ns > :begin_ns
  AND x.begin_tai_ns > :begin_ns - 86400000000000
ORDER BY x.begin_tai_ns
