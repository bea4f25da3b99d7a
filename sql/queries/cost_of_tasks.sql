-- What does each task of a run cost in time and memory?
-- Asked by: those who plan the next processing
-- Reads: by key
-- Parameters:
--   run  text  demo/out/1  RUN collection
SELECT k.label AS task, COUNT(*) AS n_quanta, SUM(q.wall_s) AS wall_s, MAX(q.wall_s) AS longest_s,
       SUM(q.cpu_s) / SUM(q.wall_s) AS processor_share, MAX(q.max_rss_bytes) / 1.048576e6 AS most_mib
FROM collection AS c
JOIN task AS k ON k.run_id = c.id
JOIN quantum AS q ON q.task_id = k.id
WHERE c.name = :run
GROUP BY k.label
ORDER BY SUM(q.wall_s) DESC, k.label
