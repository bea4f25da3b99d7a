-- How old were the calibrations that were applied: from their validity's begin to the exposure?
-- Asked by: calibration scientists
-- Reads: whole tables
SELECT t.name AS dataset_type, COUNT(*) AS n_applied,
       MIN(x.begin_tai_ns - a.valid_begin_tai_ns) / 3.6e12 AS least_h,
       MAX(x.begin_tai_ns - a.valid_begin_tai_ns) / 3.6e12 AS most_h
FROM calibration AS a
JOIN dataset_type AS t ON t.id = a.dataset_type_id
JOIN quantum_input AS q ON q.dataset_id = a.dataset_id
JOIN quantum AS u ON u.id = q.quantum_id
JOIN data_id AS i ON i.id = u.data_id
JOIN exposure AS x ON x.instrument = i.instrument AND x.id = i.exposure
WHERE a.valid_begin_tai_ns > -9000000000000000000
GROUP BY t.name
ORDER BY t.name
