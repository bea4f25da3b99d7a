-- How often, when and in which filters was a target observed?
-- Asked by: principal investigators
-- Reads: whole tables
-- Parameters:
--   target  text  'DEMO FIELD 1'  Name of the target as observed
SELECT x.instrument, x.day_obs, x.physical_filter, COUNT(*) AS n_exposures,
       SUM(x.exposure_time) AS exposure_s, MIN(x.airmass) AS least_airmass
FROM exposure AS x
WHERE x.target_name = :target AND x.quality = 'good'
GROUP BY x.instrument, x.day_obs, x.physical_filter
ORDER BY x.instrument, x.day_obs, x.physical_filter
