-- Which value did a configuration field have in which run and task?
-- Asked by: pipeline developers
-- Reads: by key
-- Parameters:
--   path  text  threshold  Dotted path of the field
SELECT c.name AS run, k.label AS task, v.value, v.type
FROM config_value AS v
JOIN task AS k ON k.config_id = v.config_id
JOIN collection AS c ON c.id = k.run_id
WHERE v.path = :path
ORDER BY c.name, k.label
