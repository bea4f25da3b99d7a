-- What was made from a raw frame, over all steps, and must be made again when it is withdrawn?
-- Asked by: quality control
-- Reads: by key
-- Parameters:
--   instrument  text     DemoCam       Camera
--   exposure    integer  202503100002  Exposure
--   detector    integer  1             Detector
WITH RECURSIVE descendant (dataset_id) AS (
    SELECT d.id
    FROM data_id AS i
    JOIN dataset AS d ON d.data_id = i.id
    JOIN dataset_type AS t ON t.id = d.dataset_type_id AND t.name = 'raw'
    WHERE i.instrument = :instrument AND i.exposure = :exposure AND i.detector = :detector
    UNION
    SELECT o.dataset_id
    FROM descendant AS a
    JOIN quantum_input AS q ON q.dataset_id = a.dataset_id
    JOIN quantum_output AS o ON o.quantum_id = q.quantum_id
)
SELECT c.name AS run, t.name AS dataset_type, COUNT(*) AS n_datasets
FROM descendant AS a
JOIN dataset AS d ON d.id = a.dataset_id
JOIN dataset_type AS t ON t.id = d.dataset_type_id
JOIN collection AS c ON c.id = d.run_id
WHERE t.name <> 'raw'
GROUP BY c.name, t.name
ORDER BY c.name, t.name
