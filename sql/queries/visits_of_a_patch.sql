-- Which visits and detectors touch a patch of the sky?
-- Asked by: those who make coadds
-- Reads: by key
-- Parameters:
--   skymap  text     demo  Tessellation
--   tract   integer  0     Tract
--   patch   integer  0     Patch
SELECT v.physical_filter, COUNT(DISTINCT o.visit) AS n_visits, COUNT(*) AS n_detectors,
       MIN(o.visit) AS first_visit, MAX(o.visit) AS last_visit
FROM overlap AS o
JOIN visit AS v ON v.instrument = o.instrument AND v.id = o.visit
WHERE o.skymap = :skymap AND o.tract = :tract AND o.patch = :patch
GROUP BY v.physical_filter
ORDER BY v.physical_filter
