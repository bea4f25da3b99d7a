-- Which exposures have a number far above the mean of their detector?
-- Asked by: quality control
-- Reads: whole tables
-- Parameters:
--   metric  text    background.level  Dotted name of the number
--   excess  double  30                How far above the mean [unit of the number]
SELECT i.exposure, i.detector, m.value, a.mean
FROM quantum_metric AS m
JOIN quantum AS q ON q.id = m.quantum_id
JOIN data_id AS i ON i.id = q.data_id
JOIN (
    SELECT j.instrument, j.detector, AVG(n.value) AS mean
    FROM quantum_metric AS n
    JOIN quantum AS r ON r.id = n.quantum_id
    JOIN data_id AS j ON j.id = r.data_id
    WHERE n.name = :metric
    GROUP BY j.instrument, j.detector
) AS a ON a.instrument = i.instrument AND a.detector = i.detector
WHERE m.name = :metric AND m.value > a.mean + :excess
ORDER BY i.exposure, i.detector
