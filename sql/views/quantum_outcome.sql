-- How did the quanta of each task end, and with which kind of error?
-- Row key: run, task_label, state, error_kind, exception_class.
-- Open and blocked quanta are not counted.  Times and memory are those of the last attempts.
-- Columns:
--   run                text              RUN collection
--   task_label         text              Label of the task in the pipeline
--   state              text              done, no_work or failed
--   error_kind         text              Kind of the error: repeatable, unprocessable-data, out-of-memory, timeout, process-died, ...; of done, why it is not complete; NULL: no error, or one from before kinds were recorded
--   exception_class    text              Class of the error; NULL: none
--   n_quanta           integer           Quanta
--   n_attempts         integer           Times that they were started
--   n_hosts            integer           Hosts that they ended on
--   wall_s             double    [s]     Elapsed time, summed over the last attempts
--   max_rss_bytes      integer   [byte]  Largest memory of one of them
--   first_finished_at  utc               When the first ended, UTC
--   last_finished_at   utc               When the last ended, UTC
SELECT c.name AS run,
       k.label AS task_label,
       q.state,
       q.error_kind,
       q.exception_class,
       COUNT(*) AS n_quanta,
       SUM(q.attempt) AS n_attempts,
       COUNT(DISTINCT q.host) AS n_hosts,
       SUM(q.wall_s) AS wall_s,
       MAX(q.max_rss_bytes) AS max_rss_bytes,
       MIN(q.finished_at) AS first_finished_at,
       MAX(q.finished_at) AS last_finished_at
FROM quantum AS q
JOIN task AS k ON k.id = q.task_id
JOIN collection AS c ON c.id = k.run_id
WHERE q.state IN ('done', 'no_work', 'failed')
GROUP BY c.name, k.label, q.state, q.error_kind, q.exception_class
