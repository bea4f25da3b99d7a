-- What failed in a run, and why?
-- Asked by: operations, when a processing ends
-- Reads: by key
-- Parameters:
--   run  text  demo/again  RUN collection
SELECT k.label AS task, q.error_kind, q.exception_class, q.exception_message, COUNT(*) AS n_quanta,
       MAX(q.attempt) AS most_attempts, MIN(i.exposure) AS an_exposure, MIN(i.detector) AS a_detector
FROM collection AS c
JOIN task AS k ON k.run_id = c.id
JOIN quantum AS q ON q.task_id = k.id AND q.state = 'failed'
JOIN data_id AS i ON i.id = q.data_id
WHERE c.name = :run
GROUP BY k.label, q.error_kind, q.exception_class, q.exception_message
ORDER BY k.label, q.error_kind, q.exception_class, q.exception_message
