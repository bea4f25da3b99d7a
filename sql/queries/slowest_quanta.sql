-- Which quanta of a run took longest?
-- Asked by: pipeline developers
-- Reads: by key
-- Parameters:
--   run  text  demo/out/1  RUN collection
SELECT k.label AS task, q.wall_s, q.host, i.detector, i.exposure, i.tract, i.patch, i.band
FROM collection AS c
JOIN task AS k ON k.run_id = c.id
JOIN quantum AS q ON q.task_id = k.id
JOIN data_id AS i ON i.id = q.data_id
WHERE c.name = :run AND q.wall_s IS NOT NULL
ORDER BY q.wall_s DESC
LIMIT 5
