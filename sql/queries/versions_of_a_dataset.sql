-- Which data IDs of a type are in more than one run?
-- Asked by: those who tidy up
-- Reads: whole tables
-- Parameters:
--   dataset_type  text  sources  Dataset type
SELECT i.exposure, i.detector, COUNT(*) AS n_runs, MIN(c.name) AS one_run, MAX(c.name) AS other_run
FROM dataset AS d
JOIN dataset_type AS t ON t.id = d.dataset_type_id AND t.name = :dataset_type
JOIN data_id AS i ON i.id = d.data_id
JOIN collection AS c ON c.id = d.run_id
GROUP BY d.data_id, i.exposure, i.detector
HAVING COUNT(*) > 1
ORDER BY i.exposure, i.detector
