-- Which exposures point into a box on the sky?
-- Asked by: scientists who look for data of their field
-- Reads: by key
-- Parameters:
--   ra_min   double  150.0     Western edge, ICRS [deg]
--   ra_max   double  150.1015  Eastern edge, ICRS [deg]
--   dec_min  double  2.1995    Southern edge, ICRS [deg]
--   dec_max  double  2.2005    Northern edge, ICRS [deg]
SELECT x.instrument, x.id AS exposure, x.ra, x.dec, x.physical_filter, x.exposure_time
FROM exposure AS x
WHERE x.dec BETWEEN :dec_min AND :dec_max AND x.ra BETWEEN :ra_min AND :ra_max
ORDER BY x.instrument, x.id
