-- Where are the longest gaps between two exposures of a night?
-- Asked by: operations, who look for lost time
-- Reads: by key
-- Parameters:
--   instrument  text     DemoCam   Camera
--   day_obs     integer  20250310  Night, YYYYMMDD of its evening
--   least_s     double   100       Shortest gap to show [s]
SELECT g.after_exposure, g.exposure, g.idle_s
FROM (
    SELECT LAG(x.id) OVER (ORDER BY x.begin_tai_ns) AS after_exposure,
           x.id AS exposure,
           (x.begin_tai_ns - LAG(x.end_tai_ns) OVER (ORDER BY x.begin_tai_ns)) / 1e9 AS idle_s
    FROM exposure AS x
    WHERE x.instrument = :instrument AND x.day_obs = :day_obs
) AS g
WHERE g.idle_s > :least_s
ORDER BY g.idle_s DESC, g.exposure
