-- What was a dataset made from, by which task?
-- Asked by: anyone who got it
-- Reads: by key
-- Parameters:
--   dataset_id  uuid  01958000-0000-7000-8000-0000000000c5  The dataset
SELECT k.label AS task, q.connection, t.name AS dataset_type, i.detector, i.exposure, i.day_obs,
       i.physical_filter
FROM quantum_output AS o
JOIN quantum AS u ON u.id = o.quantum_id
JOIN task AS k ON k.id = u.task_id
JOIN quantum_input AS q ON q.quantum_id = u.id
JOIN dataset AS d ON d.id = q.dataset_id
JOIN dataset_type AS t ON t.id = d.dataset_type_id
JOIN data_id AS i ON i.id = d.data_id
WHERE o.dataset_id = :dataset_id
ORDER BY q.connection, i.exposure
