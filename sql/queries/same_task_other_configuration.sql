-- Between which runs does the value of a task's field differ?
-- Asked by: those who compare two processings
-- Reads: whole tables
-- Parameters:
--   run        text  demo/out/1  RUN collection
--   other_run  text  demo/again  RUN collection
SELECT k.label AS task, v.path, v.value, w.value AS other_value
FROM collection AS c
JOIN task AS k ON k.run_id = c.id
JOIN collection AS d ON d.name = :other_run
JOIN task AS l ON l.run_id = d.id AND l.label = k.label
JOIN config_value AS v ON v.config_id = k.config_id
JOIN config_value AS w ON w.config_id = l.config_id AND w.path = v.path
WHERE c.name = :run AND (v.value <> w.value OR (v.value IS NULL) <> (w.value IS NULL))
ORDER BY k.label, v.path
