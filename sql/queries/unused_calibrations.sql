-- Which certified calibrations has no task ever read?
-- Asked by: calibration scientists
-- Reads: whole tables
SELECT c.name AS collection, t.name AS dataset_type, i.day_obs, COUNT(*) AS n_calibrations
FROM calibration AS a
JOIN collection AS c ON c.id = a.collection_id
JOIN dataset_type AS t ON t.id = a.dataset_type_id
JOIN dataset AS d ON d.id = a.dataset_id
JOIN data_id AS i ON i.id = d.data_id
WHERE NOT EXISTS (SELECT 1 FROM quantum_input AS q WHERE q.dataset_id = a.dataset_id)
GROUP BY c.name, t.name, i.day_obs
ORDER BY c.name, t.name, i.day_obs
