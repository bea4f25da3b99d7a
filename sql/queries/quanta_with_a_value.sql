-- Which data IDs were processed with a value of a configuration field?
-- Asked by: pipeline scientists, when a value was wrong
-- Reads: by key
-- Parameters:
--   path   text  threshold  Dotted path of the field
--   value  text  3.0        The value, as it is recorded
SELECT c.name AS run, k.label AS task, s.selection, i.instrument, i.visit, i.exposure, i.detector, i.band, i.day_obs, i.tract,
       i.patch, q.state
FROM config_value AS v
JOIN task AS m ON m.config_id = v.config_id
LEFT JOIN task_variant AS s ON s.task_id = m.id
JOIN task AS k ON k.id = COALESCE(s.of_task_id, m.id)
JOIN quantum AS q ON q.task_id = k.id
LEFT JOIN quantum_variant AS x ON x.quantum_id = q.id
JOIN collection AS c ON c.id = k.run_id
JOIN data_id AS i ON i.id = q.data_id
WHERE v.path = :path AND v.value = :value AND COALESCE(x.task_id, k.id) = m.id
ORDER BY c.name, k.label, i.identity_key
