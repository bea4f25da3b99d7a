-- Which exposures were calibrated with the bias, dark or flat of a night?
-- Asked by: calibration scientists, when one turns out bad
-- Reads: whole tables
-- Parameters:
--   dataset_type  text     bias      Type of calibration
--   instrument    text     DemoCam   Camera
--   day_obs       integer  20250310  Night that it was made from
SELECT ot.name AS made, COUNT(DISTINCT o.dataset_id) AS n_datasets, MIN(oi.exposure) AS first_exposure,
       MAX(oi.exposure) AS last_exposure
FROM data_id AS i
JOIN dataset AS d ON d.data_id = i.id
JOIN dataset_type AS t ON t.id = d.dataset_type_id AND t.name = :dataset_type
JOIN quantum_input AS q ON q.dataset_id = d.id
JOIN quantum_output AS o ON o.quantum_id = q.quantum_id
JOIN dataset AS od ON od.id = o.dataset_id
JOIN dataset_type AS ot ON ot.id = od.dataset_type_id
JOIN data_id AS oi ON oi.id = od.data_id
WHERE i.instrument = :instrument AND i.day_obs = :day_obs
GROUP BY ot.name
ORDER BY ot.name
