-- How long was the shutter open on the sky, by night and filter?
-- Asked by: operations, for the report of the night
-- Reads: whole tables
SELECT x.instrument, x.day_obs, f.band, x.physical_filter, COUNT(*) AS n_exposures,
       SUM(x.exposure_time) AS exposure_s
FROM exposure AS x
JOIN physical_filter AS f ON f.instrument = x.instrument AND f.name = x.physical_filter
WHERE x.observation_type = 'science'
GROUP BY x.instrument, x.day_obs, f.band, x.physical_filter
ORDER BY x.instrument, x.day_obs, f.band, x.physical_filter
