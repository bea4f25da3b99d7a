-- How many science exposures have no calibration of a type, and where are the gaps?
-- Asked by: calibration scientists
-- Reads: whole tables
SELECT g.collection, g.dataset_type, g.physical_filter, g.place, COUNT(*) AS n_detectors,
       MAX(g.n_science_exposures) AS n_exposures
FROM calibration_gap AS g
WHERE g.n_science_exposures > 0
GROUP BY g.collection, g.dataset_type, g.physical_filter, g.place, g.gap_begin_tai_ns
ORDER BY g.collection, g.dataset_type, g.physical_filter, g.place
