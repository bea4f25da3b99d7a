-- Of which exposures did files of some detectors not come, or get lost?
-- Asked by: operations, every morning
-- Reads: whole tables
SELECT i.instrument, i.exposure, COUNT(*) AS n_detectors,
       SUM(CASE WHEN r.file_id IS NULL THEN 0 ELSE 1 END) AS n_available
FROM dataset AS d
JOIN dataset_type AS t ON t.id = d.dataset_type_id AND t.name = 'raw'
JOIN data_id AS i ON i.id = d.data_id
LEFT JOIN file AS f ON f.dataset_id = d.id
LEFT JOIN (SELECT DISTINCT file_id FROM replica WHERE state = 'available') AS r ON r.file_id = f.id
JOIN (
    SELECT instrument, COUNT(*) AS n_detectors FROM detector WHERE purpose = 'science' GROUP BY instrument
) AS c ON c.instrument = i.instrument
GROUP BY i.instrument, i.exposure, c.n_detectors
HAVING SUM(CASE WHEN r.file_id IS NULL THEN 0 ELSE 1 END) < c.n_detectors
ORDER BY i.instrument, i.exposure
