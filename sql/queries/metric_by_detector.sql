-- How does a number that tasks recorded differ from detector to detector?
-- Asked by: quality control
-- Reads: whole tables
-- Parameters:
--   metric  text  background.level  Dotted name of the number
SELECT i.instrument, i.detector, COUNT(*) AS n_values, MIN(m.value) AS least, AVG(m.value) AS mean,
       MAX(m.value) AS most
FROM quantum_metric AS m
JOIN quantum AS q ON q.id = m.quantum_id
JOIN data_id AS i ON i.id = q.data_id
WHERE m.name = :metric
GROUP BY i.instrument, i.detector
ORDER BY i.instrument, i.detector
