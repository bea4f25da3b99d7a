-- How far is a run, task by task?
-- Asked by: operations, while it runs
-- Reads: whole tables
-- Parameters:
--   run  text  demo/out/1  RUN collection
SELECT s.task_label AS task, s.n_quanta, s.n_done, s.n_failed, s.n_blocked, s.n_open
FROM run_summary AS s
WHERE s.run = :run
ORDER BY s.task_label
