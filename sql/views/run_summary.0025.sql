-- How far is each task of each run, and what did it cost?
-- Row key: run, task_label.  Times: wall and CPU summed over the last attempts [s], memory: largest [byte].
-- Quanta with a configuration of their own count with their task.
-- Columns:
--   run               text              RUN collection
--   task_label        text              Label of the task in the pipeline
--   task_class        text              Its class
--   n_quanta          integer           Quanta
--   n_done            integer           Quanta that are done
--   n_no_work         integer           Quanta that found nothing to do
--   n_failed          integer           Quanta that failed
--   n_blocked         integer           Quanta that wait for a failed one
--   n_open            integer           Quanta that are ready, running, or away in a file
--   wall_s            double    [s]     Elapsed time, summed over the last attempts
--   cpu_s             double    [s]     Processor time, summed over the last attempts
--   max_rss_bytes     integer   [byte]  Largest memory of a quantum
--   first_started_at  utc               Begin of the first, UTC
--   last_finished_at  utc               End of the last, UTC
SELECT c.name AS run,
       k.label AS task_label,
       k.class_name AS task_class,
       COUNT(q.id) AS n_quanta,
       SUM(CASE WHEN q.state = 'done' THEN 1 ELSE 0 END) AS n_done,
       SUM(CASE WHEN q.state = 'no_work' THEN 1 ELSE 0 END) AS n_no_work,
       SUM(CASE WHEN q.state = 'failed' THEN 1 ELSE 0 END) AS n_failed,
       SUM(CASE WHEN q.state = 'blocked' THEN 1 ELSE 0 END) AS n_blocked,
       SUM(CASE WHEN q.state IN ('ready', 'running', 'away') THEN 1 ELSE 0 END) AS n_open,
       SUM(q.wall_s) AS wall_s,
       SUM(q.cpu_s) AS cpu_s,
       MAX(q.max_rss_bytes) AS max_rss_bytes,
       MIN(q.started_at) AS first_started_at,
       MAX(q.finished_at) AS last_finished_at
FROM task AS k
JOIN collection AS c ON c.id = k.run_id
LEFT JOIN quantum AS q ON q.task_id = k.id
WHERE NOT EXISTS (SELECT 1 FROM task_variant AS v WHERE v.task_id = k.id)
GROUP BY c.name, k.label, k.class_name
