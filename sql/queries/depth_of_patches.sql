-- How deep is each patch: exposure time per band?
-- Asked by: survey planning
-- Reads: whole tables
SELECT s.skymap, s.tract, s.patch, f.band, COUNT(*) AS n_visits, SUM(v.exposure_time) AS exposure_s
FROM (SELECT DISTINCT skymap, tract, patch, instrument, visit FROM overlap) AS s
JOIN visit AS v ON v.instrument = s.instrument AND v.id = s.visit
JOIN physical_filter AS f ON f.instrument = v.instrument AND f.name = v.physical_filter
GROUP BY s.skymap, s.tract, s.patch, f.band
ORDER BY s.skymap, s.tract, s.patch, f.band
