-- Which nights were observed, with how many exposures of each kind?
-- Asked by: operations, every morning
-- Reads: whole tables
SELECT n.instrument, n.id AS day_obs,
       COUNT(*) AS n_exposures,
       SUM(CASE WHEN x.observation_type = 'science' THEN 1 ELSE 0 END) AS n_science,
       SUM(CASE WHEN x.observation_type IN ('bias', 'dark', 'flat') THEN 1 ELSE 0 END) AS n_calibration,
       SUM(CASE WHEN x.quality = 'rejected' THEN 1 ELSE 0 END) AS n_rejected
FROM day_obs AS n
JOIN exposure AS x ON x.instrument = n.instrument AND x.day_obs = n.id
GROUP BY n.instrument, n.id
ORDER BY n.instrument, n.id
