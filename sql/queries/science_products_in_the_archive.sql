-- What would an archive user find: products by level, with their spectral and temporal range?
-- Asked by: archive scientists
-- Reads: whole tables
SELECT o.dataproduct_subtype, o.calib_level, COUNT(*) AS n_products, MIN(o.em_min) AS em_min,
       MAX(o.em_max) AS em_max, MIN(o.t_min) AS t_min, MAX(o.t_max) AS t_max
FROM obscore AS o
GROUP BY o.dataproduct_subtype, o.calib_level
ORDER BY o.calib_level, o.dataproduct_subtype
