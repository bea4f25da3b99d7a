-- Which exposures are in the log, but no file of them ever came?
-- Asked by: operations, every morning
-- Reads: whole tables
SELECT l.instrument, l.day_obs, l.exposure, l.observation_type
FROM late_dataset AS l
WHERE l.kind = 'missing'
ORDER BY l.instrument, l.exposure
