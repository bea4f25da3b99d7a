-- Which configuration fields of a run were changed from their default, by whom and where?
-- Asked by: quality control
-- Reads: by key
-- Parameters:
--   run  text  demo/again  RUN collection
SELECT k.label AS task, h.path, first.value AS default_value, h.value, h.origin_kind, h.origin, h.set_by
FROM collection AS c
JOIN task AS k ON k.run_id = c.id
JOIN config_history AS h ON h.task_id = k.id AND h.step > 0
JOIN config_history AS first ON first.task_id = h.task_id AND first.path = h.path AND first.step = 0
WHERE c.name = :run
ORDER BY k.label, h.path, h.step
